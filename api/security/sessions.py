"""Sessions of the console: a browser that signed in with a key, and may act with it for some hours.

The browser keeps a random token, never the key. Only a digest of the token is stored. A session ends when its time is
over, when somebody signs out, and as soon as its key is no longer valid.

The functions work on a connection that is in no transaction.
"""

import secrets
from typing import Any

from psycopg import Connection

from api.security.keys import COLUMNS, Key, digest_of, keys_found
from domain.journal.queries import load

SESSION_SECONDS = 12 * 60 * 60
"""How long a browser stays signed in: a shift, so that nobody finds it signed in the next day."""

_SQL = load(__name__)


def begin_session(connection: Connection[Any], key: Key) -> str:
    """Begin a session with a valid key. Return its token: `ts_` and 43 characters, which nobody can read again."""
    token = "ts_" + secrets.token_urlsafe(32)
    with connection.transaction():
        _SQL["forget_ended"].run(connection)
        row = {"token_sha256": digest_of(token), "key_id": key.id, "seconds": SESSION_SECONDS}
        _SQL["begin"].run(connection, row)
    return token


def end_session(connection: Connection[Any], token: str) -> None:
    """End a session. Idempotent."""
    _SQL["end"].run(connection, {"token_sha256": digest_of(token)})


def find_session(connection: Connection[Any], digest: bytes) -> Key | None:
    """Return the key with which the session of this digest acts, None if the session or its key has ended."""
    find = _SQL["find"].fill(columns=COLUMNS)
    return next(iter(keys_found(connection, find, {"token_sha256": digest})), None)
