"""The read side: read models folded from the journal, how they are advanced, rebuilt and read.

Everything here can be lost and made again from the journal (DESIGN.md, Projections).
"""

from projections.register import install

__all__ = ["install"]
