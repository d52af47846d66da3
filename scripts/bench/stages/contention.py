"""Single transfers over HTTP by how much a few accounts are preferred: 50 connections, accounts chosen by Zipf's law.

A ledger that locks accounts, or tries again after a conflict, becomes slower the more its transfers meet.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from scripts.bench.stages.served import served_ledger
from scripts.bench.stages.stage import Stage
from scripts.bench.workloads.shapes import CONTENTION_EXPONENTS, contention

CONNECTIONS = 50


@contextmanager
def contended(url: str, accounts: int) -> Iterator[Stage]:
    """The contention stage."""
    with served_ledger(url, accounts) as served:
        plan = served.plan._replace(connections=CONNECTIONS)
        yield served.stage(
            served.load.contestant(shape, plan._replace(shape=shape))
            for shape in map(contention, CONTENTION_EXPONENTS)
        )
