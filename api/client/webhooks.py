"""Verifies the messages of webhooks, which are signed by Standard Webhooks.

The scheme is an HMAC over three values, so it is computed here: a receiver needs no further library.
"""

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from time import time
from typing import Any

from .errors import WebhookUnverified

TOLERANCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Message:
    """A verified message. `id` is the same in every attempt, so that duplicates can be dropped."""

    id: str
    event: dict[str, Any]
    """The CloudEvent."""


def verify(
    secret: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> Message:
    """Return the message if it was signed with the secret (`whsec_…`) and is not older or newer than the tolerance.

    Header names may have any case. Raises `ValueError` for a secret that is none, such as an empty one, then
    `WebhookUnverified`.
    """
    key = b64decode(secret.removeprefix("whsec_"), validate=True)
    if not key:
        raise ValueError("the secret is empty, and anybody could sign with it")
    given = {name.lower(): value for name, value in headers.items()}
    message_id, sent_at = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    signed = _bytes(f"{message_id}.{sent_at}.") + body
    expected = b"v1," + b64encode(hmac.digest(key, signed, "sha256"))
    signatures = _bytes(given.get("webhook-signature", "")).split()
    # During a rotation there is one for each secret.
    if not any(hmac.compare_digest(expected, signature) for signature in signatures):
        raise WebhookUnverified("no signature is made with this secret")
    is_time = sent_at.isascii() and sent_at.isdigit()
    if not is_time or abs((time() if now is None else now) - int(sent_at)) > tolerance_seconds:
        raise WebhookUnverified("the message is too old or too new")
    return Message(message_id, json.loads(body))


def _bytes(header: str) -> bytes:
    """Return a header's bytes, also of one that is no text: it must fail as any other wrong one does."""
    return header.encode(errors="surrogatepass")
