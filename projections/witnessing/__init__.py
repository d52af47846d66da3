"""Witnessing: records what other installations signed, and finds when one of them rewrites its past."""
