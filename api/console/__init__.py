"""The ledger in a browser: pages over the same reads, actions through the same endpoints."""
