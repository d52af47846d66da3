"""Request bodies: read within limits of size and time, and parsed as strict JSON (RFC 8259, and RFC 7493: names are
unique).

JSON that two parsers could read differently is refused: members that appear twice, NaN, Infinity, and text that is not
UTF-8.

Each route declares how many bytes and how many values its body may have. A body of 16 MiB can hold millions of values.
Each value becomes an object of 50 to 200 bytes, and each wrong value an error of a kilobyte. So the number of values is
limited before parsing, and the size of objects and lists before validation.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, NoReturn

import msgspec
from msgspec import MsgspecError
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from api.http.time_limit import within
from api.problems import (
    MAX_ERRORS,
    BodyTooLarge,
    InvalidShape,
    MalformedJson,
    MalformedRequest,
    RequestTimeout,
    UnsupportedMediaType,
)

# The largest transaction: 1,000 entries with addresses of 255 characters are 0.33 MB, or 1.6 MB if the client writes
# each character as a six-byte escape. Metadata of 50 times 512 characters, escaped, is 0.3 MB. The rest is room for
# white space.
ENTRIES_BODY_BYTES = 4 * 1024 * 1024
# A body without entries: metadata is the largest part.
MAX_BODY_BYTES = 1024 * 1024
# A batch of 10,000 items.
BATCH_BODY_BYTES = 16 * 1024 * 1024
CALLBACK_BODY_BYTES = 64 * 1024

# 1,000 entries have 3,000 values. Their texts could contain 27,000 commas, which count as values too.
MAX_BODY_VALUES = 40_000
# 10,000 transfers with 50 members of metadata each. At worst they become 130 MB of objects.
BATCH_BODY_VALUES = 600_000
# Members of one object, checked in bodies of more than `MANY_VALUES` values. Metadata has the most: 50.
MAX_MEMBERS = 100
MANY_VALUES = 1_000
# Only a payout's destination may be nested deeper than 6. PostgreSQL and the JSON encoders have limits beyond this one,
# each a different one.
MAX_DEPTH = 64

BODY_TIMEOUT_SECONDS = 10.0
LARGE_BODY_BYTES = 64 * 1024
"""A body larger than this is judged in another thread and must find room first (`api/service/body_room.py`)."""

MAX_POINTER_LENGTH = 255
MAX_DIGITS = 100
BEYOND_EVERY_BOUND = 10**MAX_DIGITS

MAX_USUAL_BYTES = 2 * 1024 * 1024
"""A larger body is not read as a usual one: decoding it in one go would keep all other threads waiting for too long.

It takes up to 10 ms for each mebibyte.
"""

IDENTITY = "identity"

Usual = Callable[[Any], Any]
"""Makes the body of a route from a JSON value of strings, whole numbers and the like.

Raises `MsgspecError` if it has any other form, or members that only some requests have.
"""

_CLOSE = {"Connection": "close"}

# The digits of the longest length that can exist. A longer one is cut, so that it is never read in full.
_MAX_LENGTH_DIGITS = 19


_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


async def read_body(
    receive: Receive, headers: Mapping[bytes, bytes], most: int, make_room: Callable[[int], None]
) -> bytes:
    """Return the whole body of a request, at most `most` bytes.

    As soon as the body is known to be a large one, `make_room` is called with the number of bytes that need room. It
    raises `Overloaded` if there is too little room.

    Raises `MalformedRequest` if the announced length or transfer coding is invalid, then `BodyTooLarge`, and
    `RequestTimeout` if the body is not complete within `BODY_TIMEOUT_SECONDS`. These close the connection, because what
    follows on it would be the rest of this body.
    """
    announced = announced_length(headers)
    if announced > most:
        raise too_large(most)
    if announced > LARGE_BODY_BYTES:
        make_room(announced)
    try:
        # Nearly every body has arrived with its head, so it is read without waiting.
        return await within(BODY_TIMEOUT_SECONDS, _read(receive, most, make_room))
    except TimeoutError:
        raise too_late() from None


def announced_length(headers: Mapping[bytes, bytes]) -> int:
    """Return the announced length, or 0 if none is announced.

    Raises `MalformedRequest` if it is not a length, or the transfer coding is none that is supported.
    """
    coding = headers.get(b"transfer-encoding")
    # A transfer coding that also compresses is not supported.
    if coding is not None and coding.strip().lower() != b"chunked":
        raise MalformedRequest(headers=_CLOSE)
    length = headers.get(b"content-length")
    if length is None:
        return 0
    digits = length.strip()
    if not digits.isdigit():
        raise MalformedRequest(headers=_CLOSE)
    return int(digits.lstrip(b"0")[: _MAX_LENGTH_DIGITS + 1] or b"0")


def too_late() -> RequestTimeout:
    """Return the refusal of a body that is not complete in time. It closes the connection."""
    return RequestTimeout(headers=_CLOSE)


def too_large(most: int) -> BodyTooLarge:
    """Return the refusal of a body of more bytes than a route takes. It closes the connection."""
    return BodyTooLarge(
        f"The body is larger than {most} bytes, which is what this route takes.", headers=_CLOSE
    )


async def _read(receive: Receive, most: int, make_room: Callable[[int], None]) -> bytes:
    parts = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        size = len(parts) + len(part)
        if size > most:
            raise too_large(most)
        if size > LARGE_BODY_BYTES:
            make_room(size)
        if not message.get("more_body"):
            return part if not parts else bytes(parts + part)
        parts += part


def require_uncoded(content_encoding: str) -> None:
    """Raise `UnsupportedMediaType` if the body is compressed. The refusal names the only coding accepted:
    `identity`."""
    codings = {coding.strip().lower() for coding in content_encoding.split(",")}
    if not codings <= {"", IDENTITY}:
        detail = (
            "Bodies are taken as they are, and not compressed: the one Content-Encoding taken is identity."
        )
        raise UnsupportedMediaType(detail, headers={"Accept-Encoding": IDENTITY})  # RFC 9110 §15.5.16


def require_json(content_type: str | None) -> None:
    """Raise `UnsupportedMediaType` unless the media type is JSON and its charset, if it names one, is UTF-8.

    A body without a media type is taken for JSON, the only format accepted here.
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
    """Return the JSON value of a body.

    Before parsing, raises `BodyTooLarge` if it holds more than `most_values` values. While parsing, raises
    `InvalidShape` if an object in a large body has more members than any request has, and `MalformedJson` if the body
    is empty or not JSON. After parsing, raises `MalformedJson` if it is nested too deep.
    """
    # Values are counted by the commas between them. Commas in texts count too, but no honest body has that many.
    values = body.count(b",")
    if values > most_values:
        raise BodyTooLarge(
            f"The body holds more than {most_values} values or commas, which is what this route takes."
        )
    try:
        value = (_parse_many if values > MANY_VALUES else _parse)(body.decode())
    except (ValueError, RecursionError):
        raise MalformedJson(None if body else _NO_BODY) from None
    # A body with more values is a batch. The batch models look no deeper than they know.
    if values <= MAX_BODY_VALUES and body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deep(value):
        raise MalformedJson(f"The body is nested more than {MAX_DEPTH} deep.")
    return value


def read_usual(body: bytes, usual: Usual, most_values: int) -> tuple[Any, Any] | None:
    """Return the JSON value of a body, and what `usual` makes of it. None if the body must be read by `parse_json`.

    This takes a quarter of the time. It refuses nothing: a body that is not usual, or not even JSON, is left to the
    others, which find the words. So is a body with escapes: without them each text has two quotation marks, and as many
    in the value as in the body means that no member appears twice.
    """
    if len(body) > MAX_USUAL_BYTES or b"\\" in body or body.count(b",") > most_values:
        return None
    try:
        value = _decode(body)
        made = usual(value)
    except (MsgspecError, ValueError, RecursionError):
        return None
    return (value, made) if _encode(value).count(b'"') == body.count(b'"') else None


def require_storable(value: Any, body: bytes) -> None:
    """Raise `InvalidShape` if any text holds U+0000 or an unpaired surrogate: JSON allows them, PostgreSQL does not."""
    if b"\\u" in body:  # only an escape can write either
        errors = list(islice(_unstorable(value), MAX_ERRORS))
        if errors:
            raise InvalidShape(errors)


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise MalformedJson(f"The member {_quoted(_repeated(members))} appears twice in one object.")
    return value


def _repeated(members: list[tuple[str, Any]]) -> str:
    """Return the first name that more than one member has."""
    times = Counter(name for name, _ in members)
    return next(name for name in times if times[name] > 1)


def _quoted(name: str) -> str:
    """Return a member's name in ASCII, with JSON's escapes, cut to 255 characters."""
    return json.dumps(name[:MAX_POINTER_LENGTH])


def _unique_and_few(members: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(members) > MAX_MEMBERS:
        raise InvalidShape([("", f"an object has more than {MAX_MEMBERS} members")])
    return _unique(members)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _whole_number(digits: str) -> int:
    # A number with this many digits is beyond every limit here. Reading all digits would take time that grows with
    # their square.
    return int(digits) if len(digits) < MAX_DIGITS else BEYOND_EVERY_BOUND


_NO_BODY = "This request needs a body, and it has none. Send one JSON value in UTF-8."

_parse = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=_whole_number
).decode
_parse_many = json.JSONDecoder(
    object_pairs_hook=_unique_and_few, parse_constant=_refuse_constant, parse_int=_whole_number
).decode


def _is_deep(value: Any) -> bool:
    """Tell whether a value is nested deeper than `MAX_DEPTH`. Walks level by level."""
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


# No recursion and no copies: the value may be as deep, and as long, as the parser allows.
def _unstorable(value: Any) -> Iterator[tuple[str, str]]:
    """Point at each text that cannot be stored, including names of members."""
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
    """Return a member's name as a token of a JSON pointer (RFC 6901 §3), cut to 255 characters."""
    return name[:MAX_POINTER_LENGTH].replace("~", "~0").replace("/", "~1")
