"""Requests on a replica: a copy answers what it can, and the rest is refused or passed on to the primary."""
