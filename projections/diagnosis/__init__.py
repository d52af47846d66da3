"""What happened, what is stuck, and what is safe to do."""
