"""How a state is stored in a third of its bytes, and how it is made whole again, byte for byte.

Two things recur in the states of a journal. All events of a command have the same envelope, so only the first of them
stores it: in the others the byte `ENVELOPE` takes its place, and `shares` says how many positions before the first one
stands. And the names of members recur in each event, so one byte stands for each text of `TEXTS`.

JSON as this project encodes it has no bytes below 32. So whatever the texts are, putting them in place of their bytes
gives back what was abbreviated. Bytes that another program has written are stored whole, and so are the states of
releases that do not abbreviate; their `shares` is null.

The view `events` makes states whole in SQL (migrations/0019_stored_events.sql). Readers of many events select from
the view `abbreviated_events`, and make them whole here, at a fraction of the cost.

What a byte stands for never changes, because rows are never rewritten. A new text needs a migration of the view, and
only the release after that migration may write it, because releases run side by side.
"""

import re
from collections.abc import Mapping, Sequence

StoredState = tuple[bytes, int | None, bytes | None]
"""A state as it is stored; `shares`; and the stored state of the event whose envelope it shares, if that is there."""

WHOLE = -1
"""In place of `shares`, for a state that is to be stored whole."""

ENVELOPE = b"\x1f"
_BEGIN, _END = b"\x02", b"\x03"
"""The first and the last byte of an abbreviated envelope. Its state has neither of them before."""

_SEPARATOR = b"\x00"

_OF_ENVELOPES: Mapping[bytes, bytes] = {
    _BEGIN: b'"recorded_at":"',
    _END: b',"data":',
    b"\x04": b'","actor":"',
    b"\x05": b'","correlation_id":"',
    b"\x06": b'","causation_id":"',
    b"\x07": b'","idempotency_key":"',
    b"\x08": b'","traceparent":"',
}
_OF_ACCOUNTS: Mapping[bytes, bytes] = {
    b"\x0b": b'{"transaction_id":"',
    b"\x0c": b'","debits":',
    b"\x0e": b',"credits":',
}
_OF_TRANSACTIONS: Mapping[bytes, bytes] = {
    b"\x0f": b'{"reference":',
    b"\x10": b',"description":"","metadata":{},"fingerprint":"',
    b"\x11": b'","entries":[{"account":"',
    b"\x12": b'},{"account":"',
    b"\x13": b'","direction":"debit","amount":',
    b"\x14": b'","direction":"credit","amount":',
    b"\x15": b',"asset":"',
    b"\x16": b'","normal_side":"debit","balance_after":',
    b"\x17": b'","normal_side":"credit","balance_after":',
    b"\x18": b',"debits_after":',
    b"\x19": b'}],"effective_at":"',
}
TEXTS: Mapping[bytes, bytes] = {
    b"\x01": b'{"class_version":',
    **_OF_ENVELOPES,
    **_OF_ACCOUNTS,
    **_OF_TRANSACTIONS,
}
"""What each byte stands for."""

_SOUGHT: Mapping[str, Mapping[bytes, bytes]] = {
    "account.entries_posted": _OF_ACCOUNTS,
    "transaction.posted": _OF_TRANSACTIONS,
}
"""The texts to look for in what happened, by type. Nearly all events are of these types, and each text takes time."""

_FORM = re.compile(rb'\{"class_version":(\d{1,9}),("recorded_at":".*?,"data":)(.*)\}', re.DOTALL)
_CONTROL = re.compile(rb"[\x00-\x1f]")
_FARTHEST = 32_767


def abbreviated_envelope(envelope: bytes) -> bytes:
    """Return an encoded envelope abbreviated."""
    return _in_short(envelope, _OF_ENVELOPES)


def begin(class_version: bytes) -> bytes:
    """Return how an abbreviated state of this version begins. An envelope or `ENVELOPE` follows, then the data."""
    return b"\x01" + class_version + b","


def abbreviated_data(topic: str, data: bytes) -> bytes:
    """Return what an event has as `data`, abbreviated. The closing brace of the state follows it."""
    texts = _SOUGHT.get(topic)
    return _in_short(data, texts) if texts else data


def _in_short(text: bytes, texts: Mapping[bytes, bytes]) -> bytes:
    for byte, meaning in texts.items():
        text = text.replace(meaning, byte)
    return text


def whole_states(stored: Sequence[StoredState]) -> list[bytes]:
    """Return states whole. Each text is looked for once in all of them, which takes half the time: 1 µs a state."""
    shorts: list[bytes] = []
    envelope = b""
    shared_by: bytes | None = None  # the state that has the envelope
    for state, shares, base in stored:
        if shares is None:
            shorts.append(b"")
        elif shares > 0 and base is not None:
            if base is not shared_by:
                shared_by, envelope = base, _envelope_in(base)
            shorts.append(state.replace(ENVELOPE, envelope))
        else:
            shorts.append(state)
    return [
        state if shares is None else whole
        for (state, shares, _), whole in zip(stored, _all_in_full(shorts), strict=True)
    ]


def whole_data(state: bytes) -> bytes:
    """Return what an abbreviated state has as `data`, whole."""
    # The closing brace is the state's.
    return _in_full((state.partition(ENVELOPE)[2] or state.partition(_END)[2])[:-1])


def _envelope_in(state: bytes) -> bytes:
    """Return the envelope of an abbreviated state. What is no such state has none that could be read."""
    _, _, rest = state.partition(_END)[0].partition(_BEGIN)
    return _BEGIN + rest.partition(_BEGIN)[0] + _END


def _all_in_full(texts: Sequence[bytes]) -> list[bytes]:
    whole = _in_full(_SEPARATOR.join(texts)).split(_SEPARATOR) if texts else []
    # Only a state that another program has stored can have the separator.
    return whole if len(whole) == len(texts) else list(map(_in_full, texts))


def _in_full(text: bytes) -> bytes:
    for byte, meaning in TEXTS.items():
        text = text.replace(byte, meaning)
    return text


class Abbreviator:
    """Abbreviates the states of consecutive positions that are there whole, such as those of an export."""

    def __init__(self) -> None:
        self._first = b""
        self._envelope = b""
        self._distance = 0

    def __call__(self, topic: str, state: bytes) -> tuple[bytes, int | None]:
        """Return the next state as it is to be stored, and its `shares`: None if the state is of another form."""
        form = _FORM.fullmatch(state)
        if form is None or _CONTROL.search(state):
            self._envelope = b""
            return state, None
        version, envelope, data = form.groups()
        self._distance += 1
        is_shared = envelope == self._envelope and self._distance <= _FARTHEST
        parts = begin(version), ENVELOPE if is_shared else abbreviated_envelope(envelope)
        short = b"".join((*parts, abbreviated_data(topic, data), b"}"))
        shares = self._distance if is_shared else 0
        if whole_states([(short, shares, self._first)]) != [state]:
            return state, None
        if not is_shared:
            self._first, self._envelope, self._distance = short, envelope, 0
        return short, shares
