"""Transparency: signs checkpoints of the journal's tree, and makes proofs from the tree."""
