"""What the stages are made of: the load, the servers it is sent to, and the books it fills."""
