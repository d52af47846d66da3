"""Writes abbreviated forms at once. Encoding first and abbreviating then takes four times as long.

What is here are the envelope and the two types of which nearly all events are. Of anything unusual, such as text that
JSON must escape, each function returns None. Then the caller encodes and abbreviates, which is right for everything.
"""

from collections.abc import Callable, Mapping
from typing import Any

from domain.journal.abbreviations import ENVELOPE, begin
from domain.model.accounts import EntriesPosted
from domain.model.events import Envelope, Event
from domain.model.transactions import TransactionPosted

_PLAIN = bytes(code for code in range(32, 256) if code not in b'"\\')
"""What stands for itself in a JSON string. Without it, only the bytes that stand for texts remain of a form, and quotes
that are written here. If more remains, something in the form is unusual."""

_POSTED = begin(b"%d" % EntriesPosted.class_version) + ENVELOPE + b"\x0b"
_DIRECTIONS = {"debit": "\x13", "credit": "\x14"}
_SIDES = {"debit": "\x16", "credit": "\x17"}


def envelope_in_short(envelope: Envelope) -> bytes | None:
    """Return an envelope abbreviated, if it has a key and nothing in it is unusual."""
    key, traceparent = envelope.idempotency_key, envelope.traceparent
    trace, remain = ('","traceparent":null\x03', 9) if traceparent is None else (f'\x08{traceparent}"\x03', 8)
    short = (
        f"\x02{envelope.recorded_at}\x04{envelope.actor}\x05{envelope.correlation_id}"
        f"\x06{envelope.causation_id}\x07{key}{trace}"
    ).encode()
    return short if key is not None and len(short.translate(None, _PLAIN)) == remain else None


def _entries_posted(event: EntriesPosted) -> bytes | None:
    short = f"\x0b{event.transaction_id}\x0c{event.debits}\x0e{event.credits}}}".encode()
    return short if len(short.translate(None, _PLAIN)) == 3 else None


def sums_posted(state: bytes) -> tuple[int, int] | None:
    """Return debits and credits of `EntriesPosted`, given a state as `_entries_posted` and a shared envelope make it.

    Decoding it would take twice as long. Returns None for a state of another form.
    """
    if not state.startswith(_POSTED):
        return None
    debits, _, credits = state.rpartition(b"\x0c")[2].partition(b"\x0e")
    return int(debits), int(credits[:-2])


def _transaction_posted(event: TransactionPosted) -> bytes | None:
    if event.description or event.metadata or not event.entries:
        return None
    entries = "\x12".join(
        [
            f"{entry.account}{_DIRECTIONS[entry.direction]}{entry.amount}\x15{entry.asset}"
            f"{_SIDES[entry.normal_side]}{entry.balance_after}\x18{_number(entry.debits_after)}"
            for entry in event.entries
        ]
    )
    short = (
        f'\x0f"{event.reference}"\x10{event.fingerprint}\x11{entries}\x19{event.effective_at}"}}'
    ).encode()
    return short if len(short.translate(None, _PLAIN)) == 5 * len(event.entries) + 6 else None


def _number(value: int | None) -> int | str:
    return "null" if value is None else value


SHORT_FORMS: Mapping[type[Event], Callable[[Any], bytes | None]] = {
    EntriesPosted: _entries_posted,
    TransactionPosted: _transaction_posted,
}
