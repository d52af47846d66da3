"""Group commit: batches commands, decides them in memory and commits them under one lock."""
