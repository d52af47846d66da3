"""The benchmark: each workload beside its yardstick, in the same run, in several interleaved rounds."""
