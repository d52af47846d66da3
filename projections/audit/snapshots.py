"""Compares snapshots of accounts with the fold of the events that they stand for."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from psycopg import Connection

from domain.journal.queries import load
from projections.audit.accounts import Account
from projections.audit.stored import BEYOND, Journal, Row, Sample, rows_of

_SQL = load("projections.audit.audit")


class SnapshotDifference(NamedTuple):
    """A snapshot that differs from its events. `members` maps names to (expected, actual)."""

    stream: str
    version: int
    members: Mapping[str, tuple[Any, Any]]

    def __str__(self) -> str:
        unequal = "; ".join(
            f"{name} is {actual}, must be {expected}" for name, (expected, actual) in self.members.items()
        )
        return f"snapshot of {self.stream} at version {self.version}: {unequal}"


def snapshot_differences(
    connection: Connection[Any], sample: Sample | None = None
) -> Iterator[SnapshotDifference]:
    """Compare the newest snapshot of each account, or of each account of a sample, with its events up to that version.

    Call it within `one_instant`. Raises `Unfoldable`.
    """
    streams = None if sample is None else sorted(sample.accounts)
    found = rows_of(connection, _SQL["snapshots"], {"streams": streams})
    accounts = Journal(connection, BEYOND, sample=sample).accounts()
    snapshot = next(found, None)
    for stream, events in accounts:
        while snapshot is not None and snapshot[0] < stream:
            yield _of_nothing(snapshot)
            snapshot = next(found, None)
        if snapshot is None:
            return
        if snapshot[0] != stream:
            continue
        account = Account()
        for event in events:
            if event.version <= snapshot[1]:
                account.read(event)
        members = _unequal(account, snapshot[2])
        if account.version != snapshot[1]:  # it stands for events that do not exist
            members["version"] = (account.version, snapshot[1])
        if members:
            yield SnapshotDifference(stream, snapshot[1], members)
        snapshot = next(found, None)
    if snapshot is not None:
        yield from map(_of_nothing, (snapshot, *found))


def _of_nothing(snapshot: Row) -> SnapshotDifference:
    return SnapshotDifference(snapshot[0], snapshot[1], {"stream": (None, snapshot[0])})


def _unequal(account: Account, state: bytes) -> dict[str, tuple[Any, Any]]:
    expected = _expected(account)
    try:
        actual = json.loads(state)
    except ValueError:
        return {"state": (expected, state)}
    return {
        name: (expected.get(name), actual.get(name))
        for name in expected.keys() | actual.keys()
        if expected.get(name) != actual.get(name)
    }


def _expected(account: Account) -> dict[str, Any]:
    assert account.opening is not None
    opened = account.opening.data
    minimum, maximum = account.limits
    return {
        "ledger": account.opening.ledger,
        "address": account.opening.name,
        "asset": opened["asset"],
        "normal_side": opened["normal_side"],
        "status": account.status,
        "min_balance": minimum,
        "max_balance": maximum,
        "metadata": account.metadata,
        "posted_debits": account.posted_debits,
        "posted_credits": account.posted_credits,
        "pending_debits": account.pending_debits,
        "pending_credits": account.pending_credits,
        "opened_at": account.opening.envelope["recorded_at"],
        "opening": opened,
        "version": account.version,
        "position": account.position,
    }
