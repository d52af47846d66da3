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

    Header names may have any case. Raises `WebhookUnverified`.
    """
    given = {name.lower(): value for name, value in headers.items()}
    message_id, sent_at = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    key = b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{sent_at}.".encode() + body
    expected = b"v1," + b64encode(hmac.digest(key, signed, "sha256"))
    signatures = given.get("webhook-signature", "").encode().split()
    # During a rotation there is one for each secret.
    if not any(hmac.compare_digest(expected, signature) for signature in signatures):
        raise WebhookUnverified("no signature is made with this secret")
    if not sent_at.isdigit() or abs((time() if now is None else now) - int(sent_at)) > tolerance_seconds:
        raise WebhookUnverified("the message is too old or too new")
    return Message(message_id, json.loads(body))
