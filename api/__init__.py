"""HTTP: how requests become commands and queries, and how outcomes become answers."""
