"""Requests that span ledgers: all installations of a placement are asked, and their answers become one."""
