"""Digests: whether two installations have the same events of a ledger.

The events are the leaves of a Merkle tree: each with its number in the ledger, stream, version, type and stored bytes.
Equal counts and equal roots mean equal events in the same order. Positions differ, so they are no part of it.
"""

from typing import Any, NamedTuple

from psycopg import Connection

from domain.model.streams import is_account_stream
from domain.placement.copies import all_rows
from domain.transparency.leaves import hash_of
from domain.transparency.merkle_tree import Accumulator

LONG_EVENTS = 100
"""From so many events on, an account takes noticeably longer to load than from a snapshot."""


class Digest(NamedTuple):
    """How many events a ledger has, and the root of their tree in hex."""

    events: int
    root: str


class LedgerTree:
    """The tree of a ledger's events in one installation, as far as it was read."""

    def __init__(self, connection: Connection[Any], ledger: str) -> None:
        self._connection = connection
        self._ledger = ledger
        self._accumulator = Accumulator()
        self._events = 0
        self._position = 0
        self.long_accounts: dict[str, int] = {}
        """The streams of accounts with many events, each with its newest version."""

    def advance(self, upto: int) -> Digest:
        """Read on up to a position, and return the digest of all events up to there."""
        for stream, version, topic, state, _ in all_rows(
            self._connection, self._ledger, self._position, upto
        ):
            self._events += 1
            self._accumulator.append(hash_of(self._events, stream, version, topic, state))
            if version >= LONG_EVENTS and is_account_stream(stream):
                self.long_accounts[stream] = version
        self._position = max(self._position, upto)
        return Digest(self._events, self._accumulator.root.hex())
