"""The trace of an operation: what is known of it anywhere, in the order of time, and what may be done about it.

`story` gathers, of one instant; `timeline` and `verdict` tell, without I/O.
"""
