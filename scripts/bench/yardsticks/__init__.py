"""The yardsticks: the least such work could cost on the same machine."""
