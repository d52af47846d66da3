"""Who may call: keys to the API, their roles, and the ledgers that each is granted.

Only a hash of a key is kept. Keys made here are 256 random bits, so one round of SHA-256 hides them; a configured key
is the operator's own to choose well.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from concurrent.futures import Executor
from datetime import datetime
from time import monotonic
from typing import Any, Literal, NamedTuple
from uuid import UUID, uuid4

import psycopg
from psycopg import Connection
from psycopg.rows import tuple_row
from pydantic import SecretStr

from api.connections import connected
from domain.journal.database import Database
from domain.journal.queries import load
from domain.ledger import Ledger
from domain.times import Instant, instant

Role = Literal["client", "auditor", "operator"]
ROLES: tuple[Role, ...] = ("client", "auditor", "operator")
EVERY_LEDGER = "*"

KNOWN_FOR_SECONDS = 1.0
"""For how long a key that was looked up is believed: a revocation takes hold everywhere within this time."""

MAX_KNOWN_KEYS = 10_000

_BOOTSTRAP_ID = UUID("00000000-0000-4000-8000-000000000001")
_SQL = load("api", "security.sql")


class Key(NamedTuple):
    """A key to the API, without the key itself. Its name is the actor of what is done with it."""

    id: UUID
    name: str
    roles: tuple[str, ...]
    ledgers: tuple[str, ...]
    created_at: Instant

    def may_use(self, ledger: str) -> bool:
        """Tell whether the key was granted a ledger, whether or not the ledger exists."""
        return EVERY_LEDGER in self.ledgers or ledger in self.ledgers

    @property
    def granted(self) -> list[str] | None:
        """The names of the ledgers granted, None for every ledger."""
        return None if EVERY_LEDGER in self.ledgers else list(self.ledgers)


NOBODY = Key(UUID(int=0), "nobody", (), (), "")
"""Who calls where no key is asked for."""


def new_key() -> str:
    """Return a new random key: `tk_` and 43 characters that are safe in URLs."""
    return "tk_" + secrets.token_urlsafe(32)


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
        "key_sha256": hashlib.sha256(key.encode()).digest(),
    }


class KeyRing:
    """The keys of one installation, as one process of the API uses them.

    Every method but `find` blocks and raises `JournalUnavailable` while the database is out of reach.
    """

    def __init__(self, ledger: Ledger, reading: Executor) -> None:
        """`reading` is where look-ups block."""
        self._ledger = ledger
        self._reading = reading
        self._known: dict[bytes, tuple[asyncio.Future[Key | None], float]] = {}

    async def find(self, key: str) -> Key | None:
        """Return what is known of a key, None if it is no valid one; raises `JournalUnavailable`.

        One look-up at a time for each key, however many requests wait for it.
        """
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        looked_up, until = self._known.get(digest, (None, 0.0))
        if looked_up is None or monotonic() >= until:
            if len(self._known) >= MAX_KNOWN_KEYS:
                self._known.clear()
            looked_up = asyncio.get_running_loop().run_in_executor(self._reading, self._find, digest)
            self._known[digest] = (looked_up, monotonic() + KNOWN_FOR_SECONDS)
        return looked_up.result() if looked_up.done() else await asyncio.shield(looked_up)

    def add(self, name: str, roles: Sequence[str], ledgers: Sequence[str]) -> tuple[Key, str]:
        """Make a key; return it and the key itself, which nobody can read again."""
        key = new_key()
        rows = self._query("add", _row(uuid4(), name, roles, ledgers, key))
        return _key(rows[0]), key

    def valid(self, after: tuple[Instant, str] | None, limit: int, descending: bool) -> list[Key]:
        """Return up to `limit` valid keys made after the key with this time and id, oldest first."""
        time, id = after or (None, None)
        wanted = {"after_time": time, "after_id": id, "limit": limit}
        return [_key(row) for row in self._query("list", wanted, descending=descending)]

    def revoke(self, id: UUID) -> bool:
        """Make a key invalid for ever; tell whether there is such a key. Again is as once."""
        with connected(self._ledger) as connection:
            found = connection.execute(_SQL["revoke"], {"id": id}).rowcount > 0
        self._known.clear()
        return found

    def _find(self, digest: bytes) -> Key | None:
        rows = self._query("find", {"key_sha256": digest})
        return _key(rows[0]) if rows else None

    def _query(self, name: str, wanted: dict[str, Any], descending: bool = False) -> list[Any]:
        order, beyond = ("DESC", "<") if descending else ("ASC", ">")
        query = _SQL[name].replace(":order", order).replace(":beyond", beyond)
        with connected(self._ledger) as connection:
            return connection.cursor(row_factory=tuple_row).execute(query, wanted).fetchall()


def _key(row: tuple[UUID, str, list[str], list[str], datetime]) -> Key:
    id, name, roles, ledgers, created_at = row
    return Key(id, name, tuple(roles), tuple(ledgers), instant(created_at))
