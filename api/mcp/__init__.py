"""The ledger for assistants: a Model Context Protocol server that calls the service as any client does."""
