"""Requests in a placement: all installations are asked and answer as one; moved ledgers show their own positions."""
