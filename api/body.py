"""Bodies: read within bounds of size and time, and parsed as strict JSON (RFC 8259, I-JSON's unique names).

What would be read differently by two parsers is refused: members that appear twice, NaN and Infinity, text that is not
UTF-8.
"""

import asyncio
import json
from collections.abc import Coroutine, Generator, Iterator, Mapping
from types import coroutine
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from api.problems import BodyTooLarge, InvalidShape, MalformedJson, RequestTimeout, UnsupportedMediaType

MAX_BODY_BYTES = 16 * 1024 * 1024
BODY_TIMEOUT_SECONDS = 10.0
MAX_POINTER_LENGTH = 255
MAX_DIGITS = 100
BEYOND_EVERY_BOUND = 10**MAX_DIGITS

IDENTITY = "identity"

_CLOSE = {"Connection": "close"}


async def read_body(receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
    """Return the whole body of a request.

    Raises `BodyTooLarge`, and `RequestTimeout` if it is not complete within `BODY_TIMEOUT_SECONDS`; the connection is
    then closed, since what follows on it would be the rest of this body.
    """
    announced = headers.get(b"content-length", b"0")
    if not announced.isdigit() or int(announced) > MAX_BODY_BYTES:
        raise BodyTooLarge(headers=_CLOSE)
    reading = _read(receive)
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


async def _read(receive: Receive) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        whole: bytes = message.get("body", b"")
        return whole
    parts = bytearray()
    while message["type"] == "http.request":
        parts += message.get("body", b"")
        if len(parts) > MAX_BODY_BYTES:
            raise BodyTooLarge(headers=_CLOSE)
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


def parse_json(body: bytes) -> Any:
    """Return the JSON value of a body; raise `MalformedJson`."""
    try:
        return _parse(body.decode())
    except (ValueError, RecursionError):
        raise MalformedJson from None


def require_storable(value: Any, body: bytes) -> None:
    """Raise `InvalidShape` for U+0000 and unpaired surrogates in any text: JSON allows them, PostgreSQL does not."""
    if b"\\u" in body and (errors := list(_unstorable("", value))):  # only an escape can stand for either
        raise InvalidShape(errors)


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise ValueError("a member appears twice")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _whole_number(digits: str) -> int:
    # Whatever has so many digits is beyond every bound here; reading them all takes time that grows with their square.
    return int(digits) if len(digits) < MAX_DIGITS else BEYOND_EVERY_BOUND


_parse = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=_whole_number
).decode


def _unstorable(pointer: str, value: Any) -> Iterator[tuple[str, str]]:
    """Point at each text that cannot be stored, names of members included."""
    match value:
        case str() if not _is_storable(value):
            yield pointer, "text must not contain U+0000 or unpaired surrogates"
        case list():
            for index, item in enumerate(value):
                yield from _unstorable(f"{pointer}/{index}", item)
        case dict():
            for name, item in value.items():
                if _is_storable(name):
                    yield from _unstorable(f"{pointer}/{escaped(name)}", item)
                else:
                    yield pointer, "names of members must not contain U+0000 or unpaired surrogates"


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def escaped(name: str) -> str:
    """Return a member's name as a token of a JSON pointer (RFC 6901 §3), shortened if it is absurdly long."""
    return name[:MAX_POINTER_LENGTH].replace("~", "~0").replace("/", "~1")
