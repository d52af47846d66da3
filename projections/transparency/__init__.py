"""Signs checkpoints of the journal's tree and proves things from it."""
