"""The rows that `payouts` must hold: one for each payout, folded from its stream."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from projections.audit.stored import DISCARDED, PAYOUTS, Journal, Row, Stored

_MEMBERS = (
    "ledger",
    "id",
    "account",
    "asset",
    "amount",
    "provider",
    "destination",
    "reference",
    "metadata",
    "provider_key",
    "state",
    "money",
    "booked_by",
    "attempts",
    "waits",
    "is_unknown",
    "is_acknowledged",
    "due_at",
    "provider_reference",
    "messages",
    "history",
    "rejection",
    "idempotency_key",
    "fingerprint",
    "correlation_id",
    "traceparent",
    "actor",
    "version",
    "position",
)
"""The members of a body, in this order."""

_MONEY = {"completed": "paid", "failed": "released"}


def payouts(journal: Journal) -> Iterator[Row]:
    """Return the rows of payouts by ledger and id, with the columns of the query `payouts`."""
    streams = {stream: list(events) for stream, events in groupby(_concerning(journal), attrgetter("stream"))}
    for _, events in sorted(streams.items(), key=lambda of: of[0].split("/payouts/")):
        if events[0].topic in ("payout.accepted", "payout.rejected"):
            yield _row(events)


def _concerning(journal: Journal) -> Iterable[Stored]:
    """Return the events of payouts, one stream after another. A payout's id is the id of its hold."""
    if journal.sample is None:
        # Discarded events have lost their topic, so the stream is checked as well.
        events = (event for event in journal.of_topics(*PAYOUTS) if "/payouts/" in event.stream)
        return sorted(events, key=attrgetter("stream", "version"))
    return journal.of_streams(
        [stream.replace("/transactions/", "/payouts/") for stream in journal.sample.transactions]
    )


def _row(events: list[Stored]) -> Row:
    payout = _begun(events[0])
    for event in events:
        if event.topic != DISCARDED:
            _change(payout, event)
            _note(payout, event)
    history = payout["history"]
    return (
        payout["ledger"],
        payout["id"],
        history[0][6],
        payout["state"],
        payout["account"],
        payout["provider"],
        payout["destination"].get("ledger") if payout["provider"] == "bridge" else None,
        _time(payout["due_at"]),
        _time(history[-1][5]),
        payout["position"],
        events[-1].version,
        [payout[name] for name in _MEMBERS],
    )


def _begun(event: Stored) -> dict[str, Any]:
    data, envelope = event.data, event.envelope
    rejected = event.topic == "payout.rejected"
    return {
        **{name: data[name] for name in _MEMBERS[2:9]},
        "ledger": event.ledger,
        "id": event.name,
        "provider_key": data.get("provider_key", ""),
        "state": "rejected" if rejected else "accepted",
        "money": "released" if rejected else "held",
        "booked_by": event.name,
        "attempts": 0,
        "waits": 0,
        "is_unknown": False,
        "is_acknowledged": False,
        "due_at": None if rejected else envelope["recorded_at"],
        "provider_reference": "",
        "messages": [],
        "history": [],
        "rejection": [data["code"], data["detail"]] if rejected else None,
        "fingerprint": data["fingerprint"],
        **{name: envelope[name] for name in ("correlation_id", "traceparent", "actor", "idempotency_key")},
    }


def _change(payout: dict[str, Any], event: Stored) -> None:
    data, happened = event.data, event.topic.partition(".")[2]
    payout["provider_reference"] = data.get("provider_reference") or payout["provider_reference"]
    if data.get("message_id") is not None:
        payout["messages"].append(data["message_id"])
    is_open = payout["state"] in ("submitted", "in_doubt")
    if happened == "submitted":
        payout |= {"state": "submitted", "attempts": data["attempt"], "is_unknown": False}
    elif happened == "reported" and is_open and data["verdict"] != "unknown":
        payout |= {"state": "submitted", "is_unknown": False, "is_acknowledged": True}
    elif happened in ("reported", "unanswered") and is_open:
        payout["state"] = "in_doubt"
        payout["is_unknown"] = happened == "reported" or payout["is_unknown"]
    elif happened in _MONEY:
        payout |= {"state": happened, "money": _MONEY[happened], "is_acknowledged": True, "due_at": None}
        payout["booked_by"] = data["booked_by"] or payout["booked_by"]
    elif happened == "contradicted":
        payout |= {"state": "stuck", "due_at": None}
    elif happened == "reconciliation_requested":
        payout |= {"due_at": event.envelope["recorded_at"], "waits": 0}
    if "ask_at" in data:
        payout["due_at"] = data["ask_at"]
    payout["waits"] += happened == "unanswered" or (happened == "reported" and is_open)


def _note(payout: dict[str, Any], event: Stored) -> None:
    data = event.data
    payout |= {"version": event.version, "position": event.position}
    payout["history"].append(
        [
            payout["state"],
            event.topic.partition(".")[2],
            data.get("source"),
            data.get("detail") or data.get("reason") or "",
            event.envelope["actor"],
            event.envelope["recorded_at"],
            event.position,
        ]
    )


def _time(instant: str | None) -> datetime | None:
    return None if instant is None else datetime.fromisoformat(instant)
