"""Reading the journal: events, their proofs, and the signed checkpoints."""
