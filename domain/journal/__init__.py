"""The append-only event store in PostgreSQL: the only truth."""
