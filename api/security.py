"""Who may call: keys to the API, their roles, and the ledgers that each is granted.

Only a hash of a key is kept. Keys made here are 256 random bits, so one round of SHA-256 hides them; a configured key
is the operator's own to choose well. Keys are never compared, they are looked up by their digest, in an index here and
in a dictionary in `KeyRing`. The time of that could at most show, to who tries keys without end, how a digest begins;
there is no way from a digest to a random key, so nobody can feel their way to one byte by byte.

The functions work on a connection, and so serve the API and the command line alike.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID, uuid4

import psycopg
from psycopg import Connection
from psycopg.rows import tuple_row
from pydantic import SecretStr

from api.problems import BootstrapKeyFixed
from domain.journal.database import Database
from domain.journal.queries import load
from domain.times import Instant, instant

Role = Literal["client", "auditor", "operator"]
ROLES: tuple[Role, ...] = ("client", "auditor", "operator")
EVERY_LEDGER = "*"

MAX_OVERLAP_SECONDS = 30 * 24 * 60 * 60

_BOOTSTRAP_ID = UUID("00000000-0000-4000-8000-000000000001")
_SQL = load("api", "security.sql")


class Key(NamedTuple):
    """A key to the API, without the key itself. Its name is the actor of what is done with it.

    `valid_until` is None for a key without an end.
    """

    id: UUID
    name: str
    roles: tuple[str, ...]
    ledgers: tuple[str, ...]
    created_at: Instant
    valid_until: Instant | None

    def may_use(self, ledger: str) -> bool:
        """Tell whether the key was granted a ledger, whether or not the ledger exists."""
        return EVERY_LEDGER in self.ledgers or ledger in self.ledgers

    def may_grant(self, ledgers: Sequence[str]) -> bool:
        """Tell whether the key may be used to make keys for these ledgers: each one was granted to it."""
        return all(self.may_use(ledger) for ledger in ledgers)

    @property
    def granted(self) -> list[str] | None:
        """The names of the ledgers granted, None for every ledger."""
        return None if EVERY_LEDGER in self.ledgers else list(self.ledgers)


NOBODY = Key(UUID(int=0), "nobody", (), (), "", None)
"""Who calls where no key is asked for."""


def new_key() -> str:
    """Return a new random key: `tk_` and 43 characters that are safe in URLs."""
    return "tk_" + secrets.token_urlsafe(32)


def digest_of(key: str) -> bytes:
    """Return the digest under which a key is kept and found."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def ensure_bootstrap_key(database: Database, key: SecretStr | None) -> str | None:
    """See to it that somebody can call: the key with every role on every ledger, called `bootstrap`.

    A configured key takes the place of the bootstrap key before it. Without one, and only if no key is valid, one is
    made and returned, to be shown once. Safe when many processes start at once. Raises `psycopg.OperationalError` if
    the database is out of reach, and `ValueError` if the configured key was given to another name before.
    """
    with database.connect("tallystick keys") as connection, connection.transaction():
        connection.execute(_SQL["lock"])
        if key is not None:
            _keep_bootstrap_key(connection, key.get_secret_value())
        elif connection.execute(_SQL["any_key"]).fetchone() is None:
            made = new_key()
            _keep_bootstrap_key(connection, made)
            return made
    return None


def add_key(
    connection: Connection[Any], name: str, roles: Sequence[str], ledgers: Sequence[str]
) -> tuple[Key, str]:
    """Make a key; return it and the key itself, which nobody can read again."""
    key = new_key()
    (made,) = _keys(connection, _SQL["add"], _row(uuid4(), name, roles, ledgers, key))
    return made, key


def rotate_key(connection: Connection[Any], id: UUID, overlap_seconds: int) -> tuple[Key, str] | None:
    """Make a new key with the name, roles and ledgers of a valid one, which ends when the overlap is over.

    Returns the new key and the key itself, None if no valid key has this id. One that is rotated again ends when it
    would have, or earlier. Raises `BootstrapKeyFixed` for the bootstrap key: its row belongs to the environment, which
    would bring the old key back at the next start.
    """
    if id == _BOOTSTRAP_ID:
        raise BootstrapKeyFixed
    key = new_key()
    row = {"old_id": id, "overlap_seconds": overlap_seconds, "id": uuid4(), "key_sha256": digest_of(key)}
    made = _keys(connection, _SQL["rotate"], row)
    return (made[0], key) if made else None


def revoke_key(connection: Connection[Any], id: UUID) -> bool:
    """Make a key invalid for ever; tell whether there is such a key. Again is as once."""
    return connection.execute(_SQL["revoke"], {"id": id}).rowcount > 0


def find_key(connection: Connection[Any], digest: bytes) -> Key | None:
    """Return the valid key with this digest, None if there is none."""
    return next(iter(_keys(connection, _SQL["find"], {"key_sha256": digest})), None)


def look_at_key(connection: Connection[Any], id: UUID) -> Key | None:
    """Return the valid key with this id, None if there is none."""
    return next(iter(_keys(connection, _SQL["look_at"], {"id": id})), None)


def valid_keys(
    connection: Connection[Any],
    after: tuple[Instant, str] | None = None,
    limit: int | None = None,
    descending: bool = False,
) -> list[Key]:
    """Return up to `limit` valid keys made after the key with this time and id, oldest first."""
    time, id = after or (None, None)
    order, beyond = ("DESC", "<") if descending else ("ASC", ">")
    query = _SQL["list"].replace(":order", order).replace(":beyond", beyond)
    return _keys(connection, query, {"after_time": time, "after_id": id, "limit": limit})


def _keep_bootstrap_key(connection: Connection[Any], key: str) -> None:
    row = _row(_BOOTSTRAP_ID, "bootstrap", ROLES, [EVERY_LEDGER], key)
    try:
        connection.execute(_SQL["keep_bootstrap_key"], row)
    except psycopg.errors.UniqueViolation:
        raise ValueError("the bootstrap key is in use as a key of another name") from None


def _row(id: UUID, name: str, roles: Sequence[str], ledgers: Sequence[str], key: str) -> dict[str, Any]:
    return {
        "id": id,
        "name": name,
        "roles": list(roles),
        "ledgers": list(ledgers),
        "key_sha256": digest_of(key),
    }


def _keys(connection: Connection[Any], query: str, wanted: dict[str, Any]) -> list[Key]:
    rows = connection.cursor(row_factory=tuple_row).execute(query, wanted).fetchall()
    return [_key(*row) for row in rows]


def _key(
    id: UUID,
    name: str,
    roles: list[str],
    ledgers: list[str],
    created_at: datetime,
    valid_until: datetime | None,
) -> Key:
    end = None if valid_until is None else instant(valid_until)
    return Key(id, name, tuple(roles), tuple(ledgers), instant(created_at), end)
