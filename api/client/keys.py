"""Idempotency keys: made before the first attempt, logged, and in every exception."""

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

from .bodies import canonical
from .errors import OutcomeUnknown, TallystickError
from .paths import is_segment
from .problems import IdempotencyKeyInvalid

log = logging.getLogger("tallystick_client")

# A header's value in quotes means the text between them, so such a key would be two different ones.
_KEY = re.compile(r'(?!")[!-.0-~]{1,255}')


def new_key() -> str:
    """Return a key that no other request has."""
    return str(uuid4())


def checked_key(key: Any) -> str:
    """Return a key. Raises `IdempotencyKeyInvalid` for anything else."""
    if isinstance(key, str) and _KEY.fullmatch(key) and is_segment(key):
        return key
    detail = (
        f'{key!r:.300} is no key: 1 to 255 visible ASCII characters without "/", not quoted, not "." or ".."'
    )
    raise IdempotencyKeyInvalid({"code": IdempotencyKeyInvalid.code, "status": 400, "detail": detail})


def id_of(ledger: str, key: str) -> str:
    """Return the id of what a keyed request makes. It is known before the request is sent."""
    return str(uuid5(NAMESPACE_URL, f"tallystick:{ledger}/{key}"))


def fingerprint(path: str, body: Any) -> str:
    """Return the fingerprint of a keyed request, which the ledger keeps: two are the same if theirs are."""
    return hashlib.sha256(f"POST {path}\n".encode() + canonical(body)).hexdigest()


@contextmanager
def under(key: str, request: str) -> Iterator[None]:
    """Log the key of a request before it is sent, and see that whoever meets its exception has the key.

    Whatever else is raised than the client's own exceptions becomes `OutcomeUnknown`. A call that is cancelled or
    interrupted leaves a line in the log.
    """
    log.info("%s under the key %s", request, key)
    try:
        yield
    except TallystickError as error:
        error.key = error.key or key
        raise
    except Exception as error:
        raise OutcomeUnknown(f"the client failed: {error!r}", key) from error
    except BaseException:
        log.warning("the caller left; ask for the outcome of the key %s", key)
        raise
