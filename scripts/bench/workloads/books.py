"""The check after the timing: the books balance and hold exactly what was acknowledged.

A ledger that is fast because it loses or doubles something is not fast.
"""

from typing import NamedTuple

from domain.journal.database import Database
from domain.journal.queries import load
from scripts.bench.report.figures import BenchFailed
from scripts.bench.workloads.transfers import AMOUNT

_SQL = load("scripts.bench.bench")


class Books(NamedTuple):
    """The transactions acknowledged, those in the journal, those of them that moved money, the totals of all accounts,
    and what is still pending.
    """

    acknowledged: int
    recorded: int
    movements: int
    debits: int
    credits: int
    pending: int


def balanced_books(database: Database, acknowledged: int) -> Books:
    """Return the books of an installation. Raises `BenchFailed` if they are wrong."""
    with database.connect("tallystick bench") as connection:
        row = _SQL["totals"].only(connection)
    books = Books(acknowledged, *map(int, row))
    if books.debits != books.credits or books.pending:
        raise BenchFailed(f"the books do not balance: {books}")
    if (books.recorded, books.debits) != (acknowledged, books.movements * AMOUNT):
        raise BenchFailed(f"the journal does not hold what was acknowledged: {books}")
    return books
