"""RFC 9162 trees, C2SP tiles, notes, checkpoints and proofs, and the export format. Does not know about ledgers."""
