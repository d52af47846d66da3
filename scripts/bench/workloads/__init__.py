"""What is measured: each module does one kind of work and times it."""
