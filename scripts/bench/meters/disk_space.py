"""The disk space that transfers take: by how much the tables and indexes of an installation grow.

Tables grow by whole pages, and an index whose keys are random splits many of its pages at about the same time. So a
share is taken over all runs of a stage, and is said to be uncertain if too few pages were added.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from domain.journal.database import Database
from domain.journal.queries import load
from projections.registry import PROJECTIONS

PAGE_BYTES = 8192
MOST_UNCERTAIN = 0.01
JOURNAL, INDEXES, READ_MODELS = "journal", "journal_indexes", "read_models"

_OF_READ_MODELS = re.compile(
    rf"(?:{'|'.join(table for projection in PROJECTIONS.values() for table in projection.tables)})_v\d+"
)
_SQL = load(__name__)


class Relation(NamedTuple):
    """A table, or an index of that table."""

    table: str
    name: str

    @property
    def part(self) -> str:
        """What it belongs to: the read models, or else the journal and what is kept with it."""
        return READ_MODELS if _OF_READ_MODELS.fullmatch(self.table) else JOURNAL

    @property
    def is_index(self) -> bool:
        """Whether it is an index."""
        return self.name != self.table


class DiskSpace(NamedTuple):
    """How much disk space was added for a number of transactions, by relation, in bytes."""

    transactions: int
    bytes: Mapping[Relation, int]

    def per_transaction(self, part: str) -> float | None:
        """Return the bytes of a transaction in the journal with its indexes, in these indexes alone, or in the read
        models. None if too few pages were added for that.
        """
        added = [self.bytes[relation] for relation in self._of(part)]
        whole = [self.bytes[relation] for relation in self._of(JOURNAL if part == INDEXES else part)]
        uncertain = PAGE_BYTES * sum(grown > 0 for grown in whole)
        if not self.transactions or sum(whole) * MOST_UNCERTAIN < uncertain or not sum(whole):
            return None
        return sum(added) / self.transactions

    def _of(self, part: str) -> list[Relation]:
        if part == INDEXES:
            return [relation for relation in self._of(JOURNAL) if relation.is_index]
        return [relation for relation in self.bytes if relation.part == part]


def bytes_of(database: Database) -> dict[Relation, int]:
    """Return the size of every table and index of an installation."""
    with database.connect("tallystick bench") as connection:
        return {Relation(table, name): size for table, name, size in _SQL["relations"].rows(connection)}


def added(before: Mapping[Relation, int], after: Mapping[Relation, int], transactions: int) -> DiskSpace:
    """Return what was added between two readings."""
    return DiskSpace(transactions, {one: size - before.get(one, 0) for one, size in after.items()})
