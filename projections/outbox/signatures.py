"""Secrets of webhooks, and the signatures made with them (Standard Webhooks)."""

import secrets
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook

SECRET_BYTES = 32


def new_secret() -> str:
    """Return a new random secret, in the form that receivers' libraries expect."""
    return "whsec_" + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature_headers(keys: Sequence[str], message_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """Return the headers that identify, date and sign a message, with one signature for each secret.

    The id is the same for every attempt at a message. The time is that of the attempt.
    """
    text = body.decode()
    signatures = [Webhook(secret).sign(message_id, now, text) for secret in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
