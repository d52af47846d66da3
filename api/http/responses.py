"""Answers: bytes ready to be sent, without a framework's response object in between.

Building and sending one costs a few microseconds. The models that describe answers are only for the document.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec
from starlette.types import Receive, Send

JSON = "application/json"
HTML = "text/html; charset=utf-8"
NDJSON = "application/x-ndjson"
TEXT = "text/plain; charset=utf-8"

POSITION = "Ledger-Position"
HEAD = "Ledger-Head"
INSTALLATION = "Ledger-Installation"
DEAD_LETTERS = "Ledger-Dead-Letters"
REPLAYED = "Idempotent-Replayed"
DRY_RUN = "Dry-Run"

PART_BYTES = 256 * 1024
"""How much of a large answer is handed to the server at once."""

# Takes a third of the time that pydantic takes for a transaction.
encoded = msgspec.json.Encoder().encode


def _fields(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI wants them."""
    return [(_field_name(name), value.encode("latin-1")) for name, value in headers.items()]


@cache
def _field_name(name: str) -> bytes:
    return name.lower().encode()


class Answer(NamedTuple):
    """A status, a body and headers. An empty body has no media type."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}
    media_type: str = JSON

    async def send(self, send: Send) -> None:
        """Send the answer through ASGI."""
        headers = [(b"content-length", b"%d" % len(self.body))]
        if self.body:
            headers.append((b"content-type", self.media_type.encode()))
        headers += _fields(self.headers)
        if self.status in (204, 304):  # RFC 9110 §8.6
            del headers[0]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if len(self.body) <= PART_BYTES:
            await send({"type": "http.response.body", "body": self.body})
            return
        # Sent only as fast as the client reads it. A request with a large body keeps its room until its answer is read.
        for begin in range(0, len(self.body), PART_BYTES):
            part, end = self.body[begin : begin + PART_BYTES], begin + PART_BYTES
            await send({"type": "http.response.body", "body": part, "more_body": end < len(self.body)})


class Streamed(NamedTuple):
    """An answer that is made part by part while it is sent, as fast as the client reads it.

    `part_bytes` is about how large its parts are.
    """

    status: int
    parts: AsyncIterator[bytes]
    headers: Mapping[str, str]
    media_type: str
    part_bytes: int = 0

    async def send_while_wanted(
        self, receive: Receive, send: Send, is_admitted: Callable[[], Awaitable[bool]]
    ) -> None:
        """Send the answer through ASGI, until it ends or the client is gone.

        An exception after the first part closes the connection, so that the client sees that the answer is incomplete.
        So does a caller who is no longer admitted: `is_admitted` is asked before each part.
        """
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await self._send_head(send)
            async for part in self.parts:
                if gone.done() or not await is_admitted():
                    return
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()

    async def send_without_parts(self, send: Send) -> None:
        """Send the head of the answer only, for HEAD. No part is made."""
        await self._send_head(send)
        await send({"type": "http.response.body", "body": b""})

    async def _send_head(self, send: Send) -> None:
        headers = [(b"content-type", self.media_type.encode())]
        headers += _fields(self.headers)
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        # The head goes out with the first part of a body. The parts may take their time.
        await send({"type": "http.response.body", "body": b"", "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


_QUALITY = re.compile(r"\s*;\s*q=([01](?:\.\d{0,3})?)\s*")


def prefers(accept: str, media_type: str, to: str) -> bool:
    """Tell whether an Accept header names a media type and prefers it to another (RFC 9110 §12.5.1).

    The other type `to` may also be accepted as `application/*` or `*/*`.
    """
    qualities: dict[str, float] = {}
    for part in accept.lower().split(","):
        name, _, parameters = part.partition(";")
        found = _QUALITY.search(f";{parameters}")
        qualities.setdefault(name.strip(), float(found[1]) if found else 1.0)
    wanted = qualities.get(media_type, 0.0)
    ranges = (to, f"{to.partition('/')[0]}/*", "*/*")
    other = next((qualities[name] for name in ranges if name in qualities), 0.0)
    return wanted > 0 and (wanted, -_place(qualities, media_type)) > (other, -_place(qualities, to))


def _place(qualities: Mapping[str, float], media_type: str) -> int:
    """Return the index of a media type in the header, which decides between equal qualities; past the end if absent."""
    names = list(qualities)
    return names.index(media_type) if media_type in qualities else len(names)


def json_answer(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer with a JSON body."""
    return Answer(status, encoded(body), headers or {})


def etag(version: int) -> str:
    """Return the strong entity tag of an aggregate's version."""
    return f'"{version}"'


def tags(header: str) -> Sequence[str]:
    """Return the entity tags of an If-Match or If-None-Match header. `*` counts as a tag (RFC 9110 §13.1)."""
    return [tag.strip() for tag in header.split(",")]


def unless_unchanged(answer: Answer, if_none_match: bytes | None) -> Answer:
    """Return 304 in place of an answer whose ETag If-None-Match names, by weak comparison (RFC 9110 §13.1.2)."""
    if if_none_match is None:
        return answer
    known = [tag.removeprefix("W/") for tag in tags(if_none_match.decode("latin-1"))]
    is_known = "*" in known or answer.headers["ETag"] in known
    return Answer(304, headers=answer.headers) if is_known else answer
