"""Which installation holds which ledger.

A placement is one service over several installations. Each has its own journal, and the first that is configured, home,
has the map (domain/README.md, Placement).
"""
