"""What may answer in place of the ledger: proxies' pages, halves of answers, and bytes that are no answer at all."""

import json
from typing import Any

from tests.faulty_proxy import Forgery

CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
PAGE = b"<html><h1>The service is being updated</h1></html>"
ANOTHER: dict[str, Any] = {
    "id": "00000000-0000-5000-8000-000000000000",
    "ledger": "another",
    "kind": "posting",
    "status": "posted",
    "entries": [],
    "reference": "",
    "description": "",
    "metadata": {},
    "effective_at": "2026-11-30T12:00:00.000000Z",
    "recorded_at": "2026-11-30T12:00:00.000000Z",
    "expires_at": None,
    "idempotency_key": "another",
    "correlation_id": "another",
    "actor": "another",
    "related": {
        **dict.fromkeys(("settles", "voids", "reverses", "settled_by", "voided_by"), None),
        "reversed_by": [],
    },
    "rejection": None,
    "version": 1,
    "position": 1,
}
"""A transaction that no request of a test makes."""


def answer(status: int, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """Return the bytes of an answer, which may state another length than it has."""
    said = [
        f"HTTP/1.1 {status} Forged",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join([*said, "", ""]).encode() + body


FORGERIES = {
    "a page with success": Forgery(answer(200, PAGE, "Content-Type: text/html")),
    "an empty object": Forgery(answer(201, b"{}")),
    "an array": Forgery(answer(201, b"[]")),
    "a number": Forgery(answer(201, b"1")),
    "not a number": Forgery(answer(201, b"NaN")),
    "no content": Forgery(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "bytes that are no text": Forgery(answer(201, b"\xff\xfe{")),
    "very deep": Forgery(answer(201, b"[" * 200_000)),
    "another transaction": Forgery(answer(201, json.dumps(ANOTHER).encode())),
    "an acceptance of nothing": Forgery(answer(202, b'{"state": "accepted"}')),
    "wrongly compressed": Forgery(answer(201, b"no gzip", "Content-Encoding: gzip")),
    "half of it": Forgery(answer(201, b'{"id": "1", "entr', length=500)),
    "half of it, then a reset": Forgery(answer(201, b'{"id": "1", "entr', length=500), is_reset=True),
    "a reset": Forgery(b"", is_reset=True),
    "a page of a proxy": Forgery(answer(502, PAGE, "Content-Type: text/html")),
    "a page that finds nothing": Forgery(answer(404, PAGE, "Content-Type: text/html")),
    "a page of a conflict": Forgery(answer(409, PAGE, "Content-Type: text/html")),
    "a login": Forgery(answer(401, PAGE, "Content-Type: text/html")),
    "another's problem": Forgery(answer(400, b'{"code": 17, "message": "no"}')),
    "a redirect": Forgery(answer(307, b"", "Location: http://127.0.0.1:9/")),
    "later, much later": Forgery(answer(503, b"", "Retry-After: 1000000000")),
    "later, before now": Forgery(answer(503, b"", "Retry-After: -7")),
    "later, at no time": Forgery(answer(429, b"", "Retry-After: Mon, 99 Foo 2026 99:99:99 +9999")),
    "a wrong position": Forgery(answer(503, b"", "Ledger-Position: 1e9, many")),
    "endless": Forgery(CHUNKED, b"100000\r\n" + b" " * 0x100000 + b"\r\n"),
    "an endless head": Forgery(b"HTTP/1.1 201 Created\r\n", b"X: x\r\n" * 100),
    "a dripping body": Forgery(CHUNKED, b"1\r\n \r\n", pause_seconds=0.05),
    "no HTTP": Forgery(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
}
"""What each answers in place of the ledger, which has carried out the request."""

NEVER_BEGUN = {
    "a dripping head": Forgery(b"HTTP/1.1 201 Created\r\nX: ", b"x", pause_seconds=0.05),
    "only ever goes on": Forgery(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause_seconds=0.01),
}
"""Only the client with an event loop ends these: a thread's wait for bytes begins anew with each that comes."""
