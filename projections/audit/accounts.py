"""What the tables of `ledgers` and `balances` must hold: one row for each stream, folded from its events."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from projections.audit.stored import Journal, Stored

Row = tuple[Any, ...]

_STATUS = {"account.frozen": "frozen", "account.unfrozen": "open", "account.closed": "closed"}


def ledgers(journal: Journal) -> Iterator[Row]:
    """Return the rows of ledgers: name, metadata, assets, opened_at, version, position."""
    found: dict[str, list[Any]] = {}
    for event in journal.of_topics("ledger.opened", "ledger.asset_registered"):
        if event.topic == "ledger.opened":
            found[event.ledger] = [event.data["metadata"], [], _time(event.envelope["recorded_at"]), 0, 0]
        else:
            found[event.ledger][1].append(f"{event.data['code']}/{event.data['scale']}")
        found[event.ledger][3:] = event.version, event.position
    wanted = found.keys() if journal.sample is None else found.keys() & journal.sample.ledgers
    return ((name, *found[name]) for name in sorted(wanted))


def balances(journal: Journal) -> Iterator[Row]:
    """Return the rows of balances by stream, as the query of that name has their columns."""
    for stream, events in journal.accounts():
        yield (stream, *_account(events))


def _account(events: Iterable[Stored]) -> Row:
    events = iter(events)
    opening = last = next(events)
    opened, status = opening.data, "open"
    limits, metadata = (opened["min_balance"], opened["max_balance"]), opened["metadata"]
    posted_debits = posted_credits = pending_debits = pending_credits = 0
    for last in events:
        data = last.data
        match last.topic:
            case "account.entries_posted":
                posted_debits += data["debits"]
                posted_credits += data["credits"]
            case "account.entries_held":
                pending_debits += data["debits"]
                pending_credits += data["credits"]
            case "account.entries_settled":
                posted_debits += data["debits"]
                posted_credits += data["credits"]
                pending_debits -= data["held_debits"]
                pending_credits -= data["held_credits"]
            case "account.entries_released":
                pending_debits -= data["debits"]
                pending_credits -= data["credits"]
            case "account.limits_changed":
                limits = data["min_balance"], data["max_balance"]
            case "account.metadata_changed":
                metadata = data["metadata"]
            case topic:
                status = _STATUS[topic]
    return (
        opened["asset"],
        opened["normal_side"],
        status,
        *limits,
        metadata,
        posted_debits,
        posted_credits,
        pending_debits,
        pending_credits,
        _time(opening.envelope["recorded_at"]),
        opened,
        last.version,
        last.position,
    )


def _time(instant: str) -> datetime:
    return datetime.fromisoformat(instant)
