"""Bodies: read within bounds of size and time, and parsed as strict JSON (RFC 8259, I-JSON's unique names).

What would be read differently by two parsers is refused: members that appear twice, NaN and Infinity, text that is not
UTF-8.

Each route declares how large its body may be, in bytes and in values: a body of 16 MiB can hold millions of values, and
each becomes an object of 50 to 200 bytes, and where it is wrong an error of a kilobyte. So what reaches the parser is
bounded before it is parsed, and what reaches the models before it is validated.
"""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from itertools import islice
from types import coroutine
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from api.problems import (
    MAX_ERRORS,
    BodyTooLarge,
    InvalidShape,
    MalformedJson,
    MalformedRequest,
    RequestTimeout,
    UnsupportedMediaType,
)

# Of the largest transaction: 1,000 entries with addresses of 255 characters are 0.33 MB, or 1.6 MB where a client
# writes each character as an escape of six; metadata of 50 times 512 characters is 0.3 MB, written so. The rest is
# room for layout.
ENTRIES_BODY_BYTES = 4 * 1024 * 1024
# Of what has no entries, which metadata makes large.
MAX_BODY_BYTES = 1024 * 1024
# Of a batch of 10,000 items.
BATCH_BODY_BYTES = 16 * 1024 * 1024
CALLBACK_BODY_BYTES = 64 * 1024

# 1,000 entries have 3,000 values, and its texts, if they were commas only, would have 27,000 of these.
MAX_BODY_VALUES = 40_000
# 10,000 transfers with 50 members of metadata each. It is 130 MB of objects at the worst.
BATCH_BODY_VALUES = 600_000
# Of one object, in a body of more than `MANY_VALUES`: metadata has the most, 50.
MAX_MEMBERS = 100
MANY_VALUES = 1_000
# Nothing here is deeper than 6, but for what a payout's destination may hold. PostgreSQL and the encoders of JSON have
# bounds of their own beyond this, and each another.
MAX_DEPTH = 64

BODY_TIMEOUT_SECONDS = 10.0
LARGE_BODY_BYTES = 64 * 1024
"""From here on a body counts: it is judged in another thread, and has to find room (`api/service/body_room.py`)."""

MAX_POINTER_LENGTH = 255
MAX_DIGITS = 100
BEYOND_EVERY_BOUND = 10**MAX_DIGITS

IDENTITY = "identity"

_CLOSE = {"Connection": "close"}

# Digits of the largest length that is a length at all: more of them are never read as a number.
_MAX_LENGTH_DIGITS = 19


async def read_body(
    receive: Receive, headers: Mapping[bytes, bytes], most: int, make_room: Callable[[int], None]
) -> bytes:
    """Return the whole body of a request, of at most `most` bytes.

    `make_room` is told how many bytes there are to be room for, as soon as that is known to be a large body, and raises
    `Overloaded` if there is none. Raises `BodyTooLarge`, and `RequestTimeout` if it is not complete within
    `BODY_TIMEOUT_SECONDS`; the connection is then closed, since what follows on it would be the rest of this body.
    """
    announced = _announced(headers)
    if announced > most:
        raise _too_large(most)
    if announced > LARGE_BODY_BYTES:
        make_room(announced)
    reading = _read(receive, most, make_room)
    try:
        # Nearly every body has come with its head, and is read without waiting. A clock would cost 6 µs, a thirtieth of
        # what the API does for a transfer.
        waits_for = reading.send(None)
    except StopIteration as read:
        whole: bytes = read.value
        return whole
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            return await _rest(reading, waits_for)
    except TimeoutError:
        raise RequestTimeout(headers=_CLOSE) from None


def _announced(headers: Mapping[bytes, bytes]) -> int:
    """Return the length that the head announces, 0 if it does not; raise `MalformedRequest` where it is no length."""
    coding = headers.get(b"transfer-encoding")
    # What is compressed as well is not undone here.
    if coding is not None and coding.strip().lower() != b"chunked":
        raise MalformedRequest(headers=_CLOSE)
    length = headers.get(b"content-length")
    if length is None:
        return 0
    digits = length.strip()
    if not digits.isdigit():
        raise MalformedRequest(headers=_CLOSE)
    return int(digits.lstrip(b"0")[: _MAX_LENGTH_DIGITS + 1] or b"0")


def _too_large(most: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"The body is larger than {most} bytes, which is what this route takes.", headers=_CLOSE
    )


@coroutine
def _rest(reading: Coroutine[Any, Any, bytes], waits_for: Any) -> Generator[Any, Any, bytes]:
    """Await a coroutine that was begun by hand, given what it waits for: `yield from` can do so only from the start."""
    while True:
        try:
            try:
                sent = yield waits_for
            except BaseException as error:  # noqa: BLE001  it is cancelled, as when the time is over: it has to see that
                waits_for = reading.throw(error)
            else:
                waits_for = reading.send(sent)
        except StopIteration as read:
            whole: bytes = read.value
            return whole


async def _read(receive: Receive, most: int, make_room: Callable[[int], None]) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        whole: bytes = message.get("body", b"")
        if len(whole) > most:
            raise _too_large(most)
        return whole
    parts = bytearray()
    while message["type"] == "http.request":
        parts += message.get("body", b"")
        if len(parts) > most:
            raise _too_large(most)
        if len(parts) > LARGE_BODY_BYTES:
            make_room(len(parts))
        if not message.get("more_body"):
            return bytes(parts)
        message = await receive()
    raise ClientDisconnect


def require_uncoded(content_encoding: str) -> None:
    """Raise `UnsupportedMediaType`, with the one coding that is taken, unless a body is as it is: not compressed."""
    codings = {coding.strip().lower() for coding in content_encoding.split(",")}
    if not codings <= {"", IDENTITY}:
        detail = (
            "Bodies are taken as they are, and not compressed: the one Content-Encoding taken is identity."
        )
        raise UnsupportedMediaType(detail, headers={"Accept-Encoding": IDENTITY})  # RFC 9110 §15.5.16


def require_json(content_type: str | None) -> None:
    """Raise `UnsupportedMediaType` unless the media type is JSON, in UTF-8 if it names a charset.

    A body without a media type is taken for JSON, the only thing that is spoken here.
    """
    if content_type is None or content_type == "application/json":
        return
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    kind, _, subtype = media_type.partition("/")
    is_json = kind == "application" and (subtype == "json" or subtype.endswith("+json"))
    if not is_json or any(part and part not in _CHARSETS for part in parameters):
        raise UnsupportedMediaType


_CHARSETS = ("charset=utf-8", 'charset="utf-8"')


def parse_json(body: bytes, most_values: int = MAX_BODY_VALUES) -> Any:
    """Return the JSON value of a body; raise `MalformedJson`.

    Raises `BodyTooLarge` if it holds more than `most_values`, and `InvalidShape` if one object of many has more members
    than any request has: both before they are made.
    """
    # By the commas between them; those in texts count as well, which no honest body has so many of.
    values = body.count(b",")
    if values > most_values:
        raise BodyTooLarge(
            f"The body holds more than {most_values} values or commas, which is what this route takes."
        )
    try:
        value = (_parse_many if values > MANY_VALUES else _parse)(body.decode())
    except (ValueError, RecursionError):
        raise MalformedJson from None
    # What has more values is a batch, whose models look no deeper than they know.
    if values <= MAX_BODY_VALUES and body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deep(value):
        raise MalformedJson(f"The body is nested more than {MAX_DEPTH} deep.")
    return value


def require_storable(value: Any, body: bytes) -> None:
    """Raise `InvalidShape` for U+0000 and unpaired surrogates in any text: JSON allows them, PostgreSQL does not."""
    if b"\\u" in body:  # only an escape can stand for either
        errors = list(islice(_unstorable(value), MAX_ERRORS))
        if errors:
            raise InvalidShape(errors)


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise ValueError("a member appears twice")
    return value


def _unique_and_few(members: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(members) > MAX_MEMBERS:
        raise InvalidShape([("", f"an object has more than {MAX_MEMBERS} members")])
    return _unique(members)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _whole_number(digits: str) -> int:
    # Whatever has so many digits is beyond every bound here; reading them all takes time that grows with their square.
    return int(digits) if len(digits) < MAX_DIGITS else BEYOND_EVERY_BOUND


_parse = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=_whole_number
).decode
_parse_many = json.JSONDecoder(
    object_pairs_hook=_unique_and_few, parse_constant=_refuse_constant, parse_int=_whole_number
).decode


def _is_deep(value: Any) -> bool:
    """Tell whether a value is nested deeper than `MAX_DEPTH`, level by level."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True


# Without recursion and without copies: what is judged may be as deep as the parser allows, and as long.
def _unstorable(value: Any) -> Iterator[tuple[str, str]]:
    """Point at each text that cannot be stored, names of members included."""
    levels = [iter([("", value)])]
    while levels:
        pointer, item = next(levels[-1], _NO_MORE)
        if pointer is None:
            levels.pop()
        elif isinstance(item, str):
            if _UNSTORABLE.search(item):
                yield pointer, "text must not contain U+0000 or unpaired surrogates"
        elif isinstance(item, list):
            levels.append(_items(pointer, item))
        elif isinstance(item, dict):
            if any(map(_UNSTORABLE.search, item)):
                yield pointer, "names of members must not contain U+0000 or unpaired surrogates"
            levels.append(_members(pointer, item))


_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_NO_MORE: tuple[Any, Any] = (None, None)


def _items(pointer: str, items: list[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"{pointer}/{index}", item) for index, item in enumerate(items))


def _members(pointer: str, members: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    return (
        (f"{pointer}/{escaped(name)}", item) for name, item in members.items() if not _UNSTORABLE.search(name)
    )


def escaped(name: str) -> str:
    """Return a member's name as a token of a JSON pointer (RFC 6901 §3), shortened if it is absurdly long."""
    return name[:MAX_POINTER_LENGTH].replace("~", "~0").replace("/", "~1")
