"""The trace of an operation: everything known about it, in the order of time, and what may be done about it.

`story` gathers it from the database at one instant. `timeline` and `verdict` describe it, without I/O.
"""
