"""The keys by which an event of the journal can be found: ledger, type, actor, correlation, and what it mentions.

An event mentions the account of its own stream and the accounts that its payload names. It mentions the transaction of
its own stream, the transaction whose request caused it, and the transactions whose ids are in its payload. The callers'
own words (references, reasons, metadata) mention nothing. Payloads are read as they are stored, so that this also holds
for events of other releases.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from msgspec import Meta, MsgspecError, Struct
from msgspec.json import Decoder
from pydantic_core import from_json

from domain.journal.reader import Row
from domain.model.streams import ledger_of
from domain.model.times import Instant

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_POSSIBLE_ID = re.compile(rb'"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"')
_POSSIBLE_ACCOUNT = re.compile(rb'"account"\s*:\s*"([^"]*)"')
_ACCOUNT = b'"account"'
_DIGITS_OF_ID = b"0123456789abcdef"
_ID_WITHOUT_DIGITS = b'"----"'
_ID_CHARACTERS = 36
_OF_STREAM = {"accounts": "account", "transactions": "transaction_id"}
_VERSION = b'{"class_version":'
_OWN_WORDS = frozenset({"reference", "description", "reason", "detail"})

BEFORE_DATA = b',"data":'
"""The text between envelope and payload in the form in which this project stores events."""

PASSING_FIELDS = frozenset({"transaction_id", "correlation_id"})
"""The fields whose value differs in nearly every command."""

# Texts that are too short, or too long, to be ids.
_Brief = Annotated[str, Meta(max_length=_ID_CHARACTERS - 1)]
_Long = Annotated[str, Meta(min_length=_ID_CHARACTERS + 1)]
_Nothing = Annotated[dict[str, Any], Meta(max_length=0)]

Key = tuple[str, str, str]
"""A ledger, a field of `EventFilters`, and a value of that field. With an empty field it is the ledger alone."""


class EventFilters(NamedTuple):
    """Filters on events. Null or empty filters nothing. Times: from inclusive, to exclusive."""

    account: str | None = None
    transaction_id: str | None = None
    correlation_id: str | None = None
    actor: str | None = None
    type: str | None = None
    recorded_from: Instant | None = None
    recorded_to: Instant | None = None


# The fields that lead to the fewest events come first.
_BY_RARITY = ("transaction_id", "correlation_id", "account", "type", "actor")


class Content(NamedTuple):
    """The stored content of an event, as far as it can be read. Events of one command share `envelope`."""

    schema_version: int | None
    envelope: Mapping[str, Any]
    payload: Any

    def text(self, name: str) -> str | None:
        """Return a member of the envelope if it is text."""
        value = self.envelope.get(name)
        return value if isinstance(value, str) else None


UNREADABLE = Content(None, {}, None)


def content_of(state: bytes) -> Content:
    """Return the content of a stored event, or `UNREADABLE` if the bytes are no JSON object."""
    parts = parts_of(state)
    try:
        if parts is not None:
            version = int(state[len(_VERSION) : state.index(b",")])
            return Content(version, envelope_of(parts[0]), from_json(parts[1]))
    except ValueError:
        pass
    return _by_meaning(state)


def parts_of(state: bytes) -> tuple[bytes, bytes] | None:
    """Return the bytes of envelope and payload if the event has this project's stored form, as far as can be seen."""
    if (envelope := envelope_part(state)) is None:
        return None
    return envelope, state[state.index(b",") + len(envelope) + len(BEFORE_DATA) : -1]


def envelope_part(state: bytes) -> bytes | None:
    """Return the bytes of the envelope if the event has this project's stored form, as far as can be seen.

    No text within the envelope can be mistaken for its end, because quotes in text are escaped.
    """
    begin, end = state.find(b","), state.find(BEFORE_DATA)
    if begin < end and state.startswith(_VERSION) and state.endswith(b"}"):
        return state[begin:end]
    return None


@lru_cache(maxsize=64)
def envelope_of(encoded: bytes) -> Mapping[str, Any]:
    """Return the envelope, given its part of the stored form; raise `ValueError`. Events of a command share it."""
    envelope: dict[str, Any] = from_json(b"{" + encoded[1:] + b"}")
    return envelope


def _by_meaning(state: bytes) -> Content:
    try:
        stored = from_json(state)
    except ValueError:
        return UNREADABLE
    if not isinstance(stored, dict):
        return UNREADABLE
    version, payload = stored.pop("class_version", None), stored.pop("data", None)
    return Content(version if isinstance(version, int) else None, stored, payload)


def keys_of(row: Row, content: Content) -> Iterator[Key]:
    """Yield all keys by which an event can be found. Some may come more than once."""
    ledger = ledger_of(row[0])
    yield from shared_keys(ledger, Said(*map(content.text, ("actor", "correlation_id", "causation_id"))))
    yield ledger, "type", row[2]
    yield from keys_of_stream(row[0])
    for address in _accounts(content.payload):
        yield ledger, "account", address
    for id in _ids(content.payload):
        yield ledger, "transaction_id", id


class Said(Struct, gc=False):
    """The members of an envelope that make keys."""

    actor: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None

    @property
    def cause(self) -> str | None:
        """The id of the transaction whose request caused the event, or None if no such request did."""
        return self.causation_id if self.causation_id and _UUID.fullmatch(self.causation_id) else None


_decode_said = Decoder(Said).decode


def said_of(encoded: bytes) -> Said:
    """Return what an envelope says, given its part of the stored form; raise `MsgspecError` if its form is unusual."""
    return _decode_said(b"{" + encoded[1:] + b"}")


def shared_keys(ledger: str, said: Said) -> list[Key]:
    """Return the keys shared by all events of a command. Only the ledger's key is always present."""
    keys = [(ledger, "", "")]
    if said.actor is not None:
        keys.append((ledger, "actor", said.actor))
    if said.correlation_id is not None:
        keys.append((ledger, "correlation_id", said.correlation_id))
    if cause := said.cause:
        keys.append((ledger, "transaction_id", cause))
    return keys


class _Entry(Struct, forbid_unknown_fields=True, gc=False):
    account: str
    direction: _Brief = ""
    amount: int = 0
    asset: _Brief = ""
    normal_side: _Brief = ""
    balance_after: int = 0
    debits_after: int | None = None


class _Plain(Struct, forbid_unknown_fields=True, gc=False):
    """The payload of nearly every transaction: only these texts may be ids, and only the entries mention accounts."""

    entries: list[_Entry]
    reference: str = ""
    description: str = ""
    metadata: _Nothing = {}
    fingerprint: _Long = ""
    effective_at: _Brief = ""
    expires_at: _Brief | None = None
    settles: str = ""
    voids: str = ""
    reverses: str = ""


_decode_plain = Decoder(_Plain).decode
_BEFORE_PLAIN = b'{"reference":'


def possible_mentions(payload: bytes) -> tuple[Iterable[str], Iterable[str]]:
    """Return all ids and all accounts that a payload may mention: every text that is an id or of a member `account`.

    This is faster than looking at every text, for callers that check again. Raises `ValueError` if the payload is no
    JSON.
    """
    if payload.startswith(_BEFORE_PLAIN):
        try:
            return _mentions_of(_decode_plain(payload))
        except MsgspecError:
            pass
    if b"\\" in payload:
        texts = [*_texts(from_json(payload))]
        ids = [text for _, text in texts if _UUID.fullmatch(text)]
        return ids, [text for member, text in texts if member == "account"]
    # In a payload without a backslash every text appears as it is.
    return _possible_ids(payload), _possible_accounts(payload)


def _mentions_of(plain: _Plain) -> tuple[Iterable[str], Iterable[str]]:
    accounts = [entry.account for entry in plain.entries]
    texts = [plain.reference, plain.description, plain.settles, plain.voids, plain.reverses, *accounts]
    if _ID_CHARACTERS not in map(len, texts):
        return (), accounts
    return [text for text in texts if _UUID.fullmatch(text)], accounts


def _possible_ids(payload: bytes) -> Iterable[str]:
    if _ID_WITHOUT_DIGITS not in payload.translate(None, _DIGITS_OF_ID):
        return ()
    return map(bytes.decode, _POSSIBLE_ID.findall(payload))


def _possible_accounts(payload: bytes) -> Iterable[str]:
    return map(bytes.decode, _POSSIBLE_ACCOUNT.findall(payload)) if _ACCOUNT in payload else ()


def _texts(value: Any, member: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in a value, with the name of its member, if it has one. Names of members are texts too."""
    match value:
        case str():
            yield member, value
        case list():
            for item in value:
                yield from _texts(item)
        case dict():
            for name, item in value.items():
                yield "", name
                yield from _texts(item, name)


def keys_of_stream(stream: str) -> Iterator[Key]:
    """Yield the key that follows from an event's own stream, if that is an account's or a transaction's."""
    ledger, _, rest = stream.partition("/")
    kind, _, name = rest.partition("/")
    if kind in _OF_STREAM:
        yield ledger, _OF_STREAM[kind], name


def _accounts(payload: Any) -> Iterator[str]:
    if not isinstance(payload, dict):
        return
    if isinstance(address := payload.get("account"), str):
        yield address
    entries = payload.get("entries")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(address := entry.get("account"), str):
            yield address


def _ids(payload: Any) -> Iterator[str]:
    if not isinstance(payload, dict):
        return
    for name, value in payload.items():
        if isinstance(value, str) and len(value) == 36 and name not in _OWN_WORDS and _UUID.fullmatch(value):
            yield value


def wanted_keys(ledger: str, filters: EventFilters) -> list[Key]:
    """Return the keys that every event passing the filters has, the rarest first. Filters of time have no keys."""
    wanted = [(ledger, field, value) for field in _BY_RARITY if (value := getattr(filters, field))]
    return wanted or [(ledger, "", "")]


def passes(row: Row, content: Content, wanted: frozenset[Key], filters: EventFilters) -> bool:
    """Tell whether an event has all wanted keys, and was recorded in the filters' time range."""
    recorded_at = content.text("recorded_at") or ""
    if filters.recorded_from and recorded_at < filters.recorded_from:
        return False
    if filters.recorded_to and recorded_at >= filters.recorded_to:
        return False
    return wanted <= frozenset(keys_of(row, content))
