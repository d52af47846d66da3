"""Starts and supervises the processes of the service."""
