"""The stages: each measures workloads beside their yardsticks, on one installation, and checks its books."""
