"""The benchmark: each workload next to its yardstick, in the same run, in several interleaved rounds."""
