"""What an event of the journal can be found by: its ledger, type and actor, its conversation, and what it mentions.

An event mentions the account of whose stream it is, and those that its payload names. It mentions the transaction of
whose stream it is, the one whose request caused it, and those whose ids its payload has; what callers say in their own
words (references, reasons, metadata) mentions nothing. Payloads are looked at as they are stored, so that this holds
for events of other releases too.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic_core import from_json

from domain.addresses import ledger_of, name_of
from domain.journal.reader import Row
from domain.times import Instant

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OWN_WORDS = frozenset({"reference", "description", "reason", "detail"})

Key = tuple[str, str, str]
"""A ledger, a field of `Filters`, and a value of it; with an empty field, the ledger alone."""


class Filters(NamedTuple):
    """What an event must be to be found; what is null or empty filters nothing. Times: from inclusive, to exclusive."""

    account: str | None = None
    transaction_id: str | None = None
    correlation_id: str | None = None
    actor: str | None = None
    type: str | None = None
    recorded_from: Instant | None = None
    recorded_to: Instant | None = None


# Those that lead to the fewest events come first.
_BY_RARITY = ("transaction_id", "correlation_id", "account", "type", "actor")


class Content(NamedTuple):
    """What is stored of an event beside its place: members of the envelope, None where they cannot be read."""

    envelope: Mapping[str, Any]
    payload: Any

    def text(self, name: str) -> str | None:
        """Return a member of the envelope that is text."""
        value = self.envelope.get(name)
        return value if isinstance(value, str) else None


def content_of(state: bytes) -> Content:
    """Return what is stored of an event; of bytes that are no JSON object, nothing."""
    try:
        stored = from_json(state)
    except ValueError:
        stored = None
    if not isinstance(stored, dict):
        return Content({}, None)
    return Content(stored, stored.pop("data", None))


def keys_of(row: Row, content: Content) -> Iterator[Key]:
    """Yield everything that an event can be found by; some perhaps more than once."""
    stream, _, topic, _, _ = row
    ledger = ledger_of(stream)
    yield ledger, "", ""
    yield ledger, "type", topic
    for field in ("actor", "correlation_id"):
        if value := content.text(field):
            yield ledger, field, value
    for address in _accounts(stream, content.payload):
        yield ledger, "account", address
    for id in _transactions(stream, content):
        yield ledger, "transaction_id", id


def wanted_keys(ledger: str, filters: Filters) -> list[Key]:
    """Return the keys that an event has all of if it passes the filters but for those of time, the rarest first."""
    wanted = [(ledger, field, value) for field in _BY_RARITY if (value := getattr(filters, field))]
    return wanted or [(ledger, "", "")]


def passes(row: Row, content: Content, wanted: frozenset[Key], filters: Filters) -> bool:
    """Tell whether an event has all keys that are wanted, and was recorded at the time."""
    recorded_at = content.text("recorded_at") or ""
    if filters.recorded_from and recorded_at < filters.recorded_from:
        return False
    if filters.recorded_to and recorded_at >= filters.recorded_to:
        return False
    return wanted <= frozenset(keys_of(row, content))


def _accounts(stream: str, payload: Any) -> Iterator[str]:
    if "/accounts/" in stream:
        yield name_of(stream)
    if isinstance(payload, dict):
        if isinstance(address := payload.get("account"), str):
            yield address
        entries = payload.get("entries")
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and isinstance(address := entry.get("account"), str):
                yield address


def _transactions(stream: str, content: Content) -> Iterator[str]:
    if "/transactions/" in stream:
        yield name_of(stream)
    cause = content.text("causation_id")
    if cause is not None and len(cause) == 36 and _UUID.fullmatch(cause):
        yield cause
    if isinstance(content.payload, dict):
        for name, value in content.payload.items():
            if (
                isinstance(value, str)
                and len(value) == 36
                and name not in _OWN_WORDS
                and _UUID.fullmatch(value)
            ):
                yield value
