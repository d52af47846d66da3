"""The HTTP API: requests become commands and queries, outcomes become answers."""
