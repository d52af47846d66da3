"""Runs the service's processes."""
