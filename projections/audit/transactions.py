"""The rows that `transactions` and `due` must hold: one for each transaction, folded from its stream."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from projections.audit.stored import DISCARDED, ENDED, MADE, Journal, Row, Stored

_KINDS = dict(zip(MADE, ("posting", "settlement", "reversal", "hold", "void"), strict=False))
_RELATIONS = {"settlement": "settles", "void": "voids", "reversal": "reverses"}
_ENDS = dict(zip(ENDED, ("settled", "voided", "expired"), strict=True))


def transactions(journal: Journal) -> Iterator[Row]:
    """Return the rows of transactions by the position that made them, with the columns of the query `transactions`."""
    for made, later in journal.made():
        yield _transaction(made, later)


def transaction_accounts(journal: Journal) -> Iterator[Row]:
    """Return the accounts of each transaction, each account once: made_position, ledger, account."""
    for made in _made(journal):
        for account in sorted({entry["account"] for entry in made.data["entries"]}):
            yield (made.position, made.ledger, account)


def transaction_metadata(journal: Journal) -> Iterator[Row]:
    """Return the metadata of each transaction: made_position, ledger, key, value."""
    for made in _made(journal):
        for key, value in sorted(made.data["metadata"].items()):
            yield (made.position, made.ledger, key, value)


def due(journal: Journal) -> Iterator[Row]:
    """Return the work that is due: accepted requests not carried out, and holds that have an end and have not ended."""
    waiting: dict[tuple[str, str], Row] = {}
    for event in _concerning(journal):
        key = event.ledger, event.name
        if event.topic == "transaction.accepted":
            waiting[key] = (datetime.fromisoformat(event.envelope["recorded_at"]), event.position)
        elif event.topic == "transaction.held" and event.data["expires_at"] is not None:
            waiting[key] = (datetime.fromisoformat(event.data["expires_at"]), event.position)
        elif event.topic in (*MADE, *ENDED):
            waiting.pop(key, None)
    return ((*key, *waiting[key]) for key in sorted(waiting))


def _made(journal: Journal) -> Iterator[Stored]:
    """Return the events that made transactions, without the later events of their streams."""
    if journal.sample is None:
        return (event for event in journal.of_topics(*MADE) if event.topic != DISCARDED)
    return (made for made, _ in journal.made())


def _concerning(journal: Journal) -> Iterator[Stored]:
    if journal.sample is None:
        return journal.of_topics("transaction.accepted", *MADE, *ENDED)
    return journal.of_streams(journal.sample.transactions)


def _transaction(made: Stored, later: list[Stored]) -> Row:
    data, envelope = made.data, made.envelope
    kind = data["kind"] if made.topic == "transaction.rejected" else _KINDS[made.topic]
    related: dict[str, Any] = {_RELATIONS[kind]: _related(made, kind)} if kind in _RELATIONS else {}
    status = {"transaction.held": "pending", "transaction.rejected": "rejected"}.get(made.topic, "posted")
    reversed_by: list[str] = []
    reversed_amount, version, position = 0, made.version, made.position
    for event in later:
        version = event.version
        if event.topic == DISCARDED:
            continue
        position = event.position
        if event.topic == "transaction.reversed":
            reversed_by.append(event.data["reversed_by"])
            reversed_amount += event.data["amount"]
        else:
            status = _ENDS[event.topic]
            related |= event.data
    return (
        made.position,
        made.ledger,
        made.name,
        kind,
        status,
        _compact(data["entries"]),
        data["reference"],
        data["description"],
        data["metadata"],
        datetime.fromisoformat(data["effective_at"]),
        datetime.fromisoformat(envelope["recorded_at"]),
        _time_or_none(data.get("expires_at")),
        envelope["idempotency_key"] or "",
        envelope["correlation_id"],
        envelope["actor"],
        *(related.get(name) for name in ("settles", "voids", "reverses", "settled_by", "voided_by")),
        reversed_by or None,
        data.get("code"),
        data.get("detail"),
        made.version,
        reversed_amount,
        version,
        position,
    )


def _related(made: Stored, kind: str) -> str | None:
    """Return the id of the transaction that this one settles, voids or reverses, or was meant to."""
    relation: str | None = made.data.get(_RELATIONS[kind]) or made.data.get("related_id")
    return relation


def _compact(entries: list[dict[str, Any]]) -> str:
    return json.dumps(
        [[entry["account"], entry["direction"], entry["amount"]] for entry in entries], separators=(",", ":")
    )


def _time_or_none(instant: str | None) -> datetime | None:
    return None if instant is None else datetime.fromisoformat(instant)
