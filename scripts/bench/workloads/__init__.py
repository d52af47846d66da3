"""The workloads: each module does one kind of work and times it."""
