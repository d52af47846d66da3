"""The meters: what a run takes of the processors and of the disk."""
