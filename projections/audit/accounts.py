"""The rows that `ledgers` and `balances` must hold: one for each stream, folded from its events."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from projections.audit.stored import DISCARDED, Journal, Row, Stored

MOVES = ("ledger.move_started", "ledger.move_cancelled", "ledger.moved", "ledger.arrived")
"""The events of a ledger that change nothing but its version: it leaves, or arrives."""

_STATUS = {"account.frozen": "frozen", "account.unfrozen": "open", "account.closed": "closed"}


def ledgers(journal: Journal) -> Iterator[Row]:
    """Return the rows of ledgers: name, metadata, assets, opened_at, version, position."""
    found: dict[str, list[Any]] = {}
    for event in journal.of_topics("ledger.opened", "ledger.asset_registered", *MOVES):
        if event.topic == "ledger.opened":
            found[event.ledger] = [event.data["metadata"], [], _time(event.envelope["recorded_at"]), 0, 0]
        elif event.topic == DISCARDED and event.ledger in found:
            found[event.ledger][3] = event.version
            continue
        elif event.topic == "ledger.asset_registered":
            found[event.ledger][1].append(f"{event.data['code']}/{event.data['scale']}")
        found[event.ledger][3:] = event.version, event.position
    wanted = found.keys() if journal.sample is None else found.keys() & journal.sample.ledgers
    return ((name, *found[name]) for name in sorted(wanted))


def balances(journal: Journal) -> Iterator[Row]:
    """Return the rows of balances by stream, with the columns of the query `balances`."""
    for stream, events in journal.accounts():
        account = Account()
        for event in events:
            account.read(event)
        if account.opening:
            yield (stream, *account.row())


class Account:
    """An account in the form of its row, folded event by event."""

    def __init__(self) -> None:
        self.opening: Stored | None = None
        self.status = "open"
        self.limits: tuple[int | None, int | None] = (None, None)
        self.metadata: dict[str, str] = {}
        self.posted_debits = self.posted_credits = self.pending_debits = self.pending_credits = 0
        self.version = self.position = 0

    def read(self, event: Stored) -> None:
        """Apply the next event."""
        self.version = event.version
        if event.topic == DISCARDED:
            return
        self.position, data = event.position, event.data
        match event.topic:
            case "account.entries_posted":
                self._posted(data["debits"], data["credits"])
            case "account.entries_held":
                self._pending(data["debits"], data["credits"])
            case "account.entries_settled":
                self._posted(data["debits"], data["credits"])
                self._pending(-data["held_debits"], -data["held_credits"])
            case "account.entries_released":
                self._pending(-data["debits"], -data["credits"])
            case "account.opened":
                self.opening, self.metadata = event, data["metadata"]
                self.limits = data["min_balance"], data["max_balance"]
            case "account.limits_changed":
                self.limits = data["min_balance"], data["max_balance"]
            case "account.metadata_changed":
                self.metadata = data["metadata"]
            case topic:
                self.status = _STATUS[topic]

    def row(self) -> Row:
        """Return the columns of the account's row, without its stream."""
        assert self.opening is not None
        opened = self.opening.data
        return (
            opened["asset"],
            opened["normal_side"],
            self.status,
            *self.limits,
            self.metadata,
            self.posted_debits,
            self.posted_credits,
            self.pending_debits,
            self.pending_credits,
            _time(self.opening.envelope["recorded_at"]),
            opened,
            self.version,
            self.position,
        )

    def _posted(self, debits: int, credits: int) -> None:
        self.posted_debits += debits
        self.posted_credits += credits

    def _pending(self, debits: int, credits: int) -> None:
        self.pending_debits += debits
        self.pending_credits += credits


def _time(instant: str) -> datetime:
    return datetime.fromisoformat(instant)
