"""The journal to read: events, their proofs, and the signed checkpoints."""
