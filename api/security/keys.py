"""Keys to the API: their roles, and the ledgers that each is granted.

Only a hash of a key is stored. Keys made here are 256 random bits, so one round of SHA-256 hides them. Choosing a
strong configured key is up to the operator.

Keys are never compared. They are looked up by their digest, here in an index and in `KeyCache` in a dictionary. The
time that takes could at most reveal how a digest begins, to somebody who tries keys without end. A digest does not lead
back to a random key, so nobody can guess one byte by byte.

Making, rotating or revoking a key is recorded in the journal (domain/model/installation/keys.py) in the same
transaction. That transaction holds the head's lock, so of two such changes the second sees what the first did.

The functions work on a connection that is in no transaction, and serve both the API and the command line. Those that
change keys raise `JournalUnavailable` while another writer holds the lock for too long.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID, uuid4

import psycopg
from psycopg import Connection
from pydantic import SecretStr

from api.problems import BootstrapKeyFixed, KeyExists
from domain.journal.database import Database
from domain.journal.queries import Query, load
from domain.journal.recording import Recorder, recording
from domain.model.errors import InvalidRequest
from domain.model.events import Context
from domain.model.installation.keys import BOOTSTRAP, KeyMade, KeyRevoked, KeyRotated, likeness
from domain.model.streams import key_stream
from domain.model.times import Instant, instant
from projections.engine.live_version import Rows, read_rows

Role = Literal["client", "poster", "auditor", "operator"]
ROLES: tuple[Role, ...] = ("client", "poster", "auditor", "operator")
EVERY_LEDGER = "*"

ROLE_MEANINGS: Mapping[Role, str] = {
    "client": "acts and reads in its ledgers: opens and changes accounts, moves money; with every ledger granted, makes"
    " ledgers too",
    "poster": "as client, but opens, changes, freezes and closes no account and makes no ledger: moves money within the"
    " limits that others set",
    "auditor": "reads everything in its ledgers, and the trail of keys; changes nothing",
    "operator": "runs projections, dead letters, webhooks, keys and payouts in doubt; neither posts nor reads accounts",
}
"""What each role may do, in the words that are shown where roles are chosen."""

NEEDS_LEDGERS: frozenset[Role] = frozenset({"client", "poster"})
"""The roles that can do nothing without a ledger."""

KeyState = Literal["active", "expired", "revoked"]

MAX_OVERLAP_SECONDS = 30 * 24 * 60 * 60

AT_START = Context("tallystick", "start")
"""The actor of changes to the bootstrap key, which is configured where the service is started."""

_BOOTSTRAP_ID = UUID("00000000-0000-4000-8000-000000000001")
_SQL = load(__name__)

COLUMNS = _SQL["columns"]
"""The columns of a key, of a table that the query calls `k`."""


class Key(NamedTuple):
    """A key to the API, without its secret. Its name is recorded as the actor of everything done with it.

    `valid_until` is None for a key without an end. `created_by` and `revoked_by` are None where nobody is known.
    """

    id: UUID
    name: str
    roles: tuple[str, ...]
    ledgers: tuple[str, ...]
    created_at: Instant
    valid_until: Instant | None
    created_by: str | None = None
    revoked_at: Instant | None = None
    revoked_by: str | None = None
    state: KeyState = "active"

    def may_use(self, ledger: str) -> bool:
        """Tell whether the key was granted a ledger. The ledger need not exist."""
        return EVERY_LEDGER in self.ledgers or ledger in self.ledgers

    def may_grant(self, ledgers: Sequence[str]) -> bool:
        """Tell whether the key was granted all of these ledgers, and so may decide about what concerns them."""
        return all(self.may_use(ledger) for ledger in ledgers)

    @property
    def granted(self) -> list[str] | None:
        """The names of the ledgers granted, None for every ledger."""
        return None if EVERY_LEDGER in self.ledgers else list(self.ledgers)

    @property
    def told(self) -> dict[str, Any]:
        """The attributes of the key that its events record."""
        return {
            "name": self.name,
            "roles": self.roles,
            "ledgers": self.ledgers,
            "valid_until": self.valid_until,
        }


def keyless_caller(name: str) -> Key:
    """Return the caller of a request without a key. It has no role and no ledger."""
    return Key(id=UUID(int=0), name=name, roles=(), ledgers=(), created_at="", valid_until=None)


NOBODY = keyless_caller("nobody")
"""The caller of a route that asks for no key."""


class Wanted(NamedTuple):
    """A request for a new key. It is granted `ledgers`, which must exist, and `ledgers_to_come`, which need not."""

    name: str
    roles: Sequence[str]
    ledgers: Sequence[str]
    ledgers_to_come: Sequence[str] = ()


def new_key() -> str:
    """Return a new random key: `tk_` and 43 characters that are safe in URLs."""
    return "tk_" + secrets.token_urlsafe(32)


def digest_of(key: str) -> bytes:
    """Return the digest by which a key is stored and found."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def ensure_bootstrap_key(database: Database, key: SecretStr | None) -> str | None:
    """Ensure that somebody can call: keep a key named `bootstrap` with every role on every ledger.

    A configured key replaces the former bootstrap key. Without a configured key, and only if no key is valid, one is
    made and returned, to be shown once. Safe when many processes start at once.

    Raises `psycopg.OperationalError` if the database is out of reach, and `ValueError` if the configured key is already
    in use under another name.
    """
    with database.connect("tallystick keys") as connection, connection.transaction():
        _SQL["lock"].run(connection)
        if key is not None:
            _keep_bootstrap_key(connection, key.get_secret_value())
        elif _SQL["any_key"].row(connection) is None:
            made = new_key()
            _keep_bootstrap_key(connection, made)
            return made
    return None


def add_key(connection: Connection[Any], wanted: Wanted, by: Context) -> tuple[Key, str]:
    """Make a key. Return it and its secret, which nobody can read again.

    Raises `InvalidRequest` if a ledger in `ledgers` does not exist, then `KeyExists` if a valid key has the name or one
    that looks the same.
    """
    key = new_key()
    with recording(connection) as recorder:
        _require_ledgers(connection, wanted.ledgers)
        _require_new_name(connection, wanted.name)
        ledgers = list(dict.fromkeys((*wanted.ledgers, *wanted.ledgers_to_come)))
        made = _add(
            connection,
            _row(uuid4(), wanted.name, list(dict.fromkeys(wanted.roles)), ledgers, key),
            recorder,
            by,
        )
        recorder.record([(key_stream(str(made.id)), KeyMade(replaces=None, **made.told))], by)
    return made, key


def rotate_key(
    connection: Connection[Any], id: UUID, overlap_seconds: int, by: Context
) -> tuple[Key, str] | None:
    """Make a new key with the name, roles and ledgers of a valid one. The old key ends when the overlap is over.

    Returns the new key and its secret, or None if no valid key has this id. An old key that would end earlier anyway
    keeps its end. Raises `BootstrapKeyFixed` for the bootstrap key: it is configured in the environment, which would
    bring the old key back at the next start.
    """
    if id == _BOOTSTRAP_ID:
        raise BootstrapKeyFixed
    key = new_key()
    with recording(connection) as recorder:
        old = look_at_key(connection, id)
        if old is None or old.state != "active":
            return None
        change = {"id": id, "overlap_seconds": overlap_seconds, "now": recorder.now}
        (old,) = keys_found(connection, _SQL["end"], change)
        made = _add(connection, _row(uuid4(), old.name, old.roles, old.ledgers, key), recorder, by)
        recorder.record(
            [
                (key_stream(str(made.id)), KeyMade(replaces=str(id), **made.told)),
                (key_stream(str(id)), KeyRotated(replaced_by=str(made.id), **old.told)),
            ],
            by,
        )
    return made, key


def revoke_key(connection: Connection[Any], id: UUID, by: Context) -> bool:
    """Make a key invalid for ever; tell whether it exists. Idempotent: recorded once."""
    if (known := look_at_key(connection, id)) is None or known.state == "revoked":
        return known is not None
    with recording(connection) as recorder:
        change = {"id": id, "now": recorder.now, "by": by.actor}
        for revoked in keys_found(connection, _SQL["revoke"], change):
            recorder.record([(key_stream(str(id)), KeyRevoked(**revoked.told))], by)
    return True


def find_key(connection: Connection[Any], digest: bytes) -> Key | None:
    """Return the valid key with this digest, None if there is none."""
    return next(iter(keys_found(connection, _SQL["find"], {"key_sha256": digest})), None)


def look_at_key(connection: Connection[Any], id: UUID) -> Key | None:
    """Return the key with this id, valid or not; None if there is none."""
    return next(iter(keys_found(connection, _SQL["look_at"], {"id": id})), None)


def list_keys(
    connection: Connection[Any],
    after: tuple[Instant, str] | None = None,
    limit: int | None = None,
    descending: bool = False,
    *,
    granted: Sequence[str] | None = None,
    state: KeyState | None = None,
    most_bytes: int | None = None,
) -> Rows[Key]:
    """Return up to `limit` keys made after the key with this time and id, oldest first, valid or not.

    `granted` are the caller's ledgers, None for every ledger. Keys that may use other ledgers are not listed. The page
    ends early with the key that makes it larger than `most_bytes`, unless that is None.
    """
    time, id = after or (None, None)
    order, beyond = ("DESC", "<") if descending else ("ASC", ">")
    query = _SQL["list"].fill(order=order, beyond=beyond)
    wanted: dict[str, Any] = {"after_time": time, "after_id": id, "limit": limit, "state": state}
    wanted["granted"] = None if granted is None else list(granted)
    rows = read_rows(connection, query, wanted, most_bytes)
    return rows.read_as(_key(*row) for row in rows)


def _keep_bootstrap_key(connection: Connection[Any], key: str) -> None:
    """Make or change the bootstrap key and record that, unless it is as it should be."""
    row = _row(_BOOTSTRAP_ID, BOOTSTRAP, ROLES, [EVERY_LEDGER], key)
    found = _SQL["bootstrap"].row(connection, row)
    known, digest = (None, None) if found is None else (_key(*found[1:]), bytes(found[0]))
    is_same = digest == row["key_sha256"]
    if known and is_same and known.state != "revoked" and known[2:4] == (ROLES, (EVERY_LEDGER,)):
        return
    with recording(connection) as recorder:
        try:
            changed = {**row, "now": recorder.now, "by": AT_START.actor}
            (kept,) = keys_found(connection, _SQL["keep_bootstrap_key"], changed)
        except psycopg.errors.UniqueViolation:
            raise ValueError("the bootstrap key is in use as a key of another name") from None
        replaces = str(_BOOTSTRAP_ID) if known and not is_same else None
        made = KeyMade(replaces=replaces, **kept.told)
        recorder.record([(key_stream(str(_BOOTSTRAP_ID)), made)], AT_START)


def _require_ledgers(connection: Connection[Any], ledgers: Sequence[str]) -> None:
    missing = _SQL["missing_ledgers"].rows(connection, {"ledgers": list(ledgers)})
    if missing:
        detail = "there is no ledger of this name; a ledger that is made later belongs in ledgers_to_come"
        raise InvalidRequest(f"/ledgers/{list(ledgers).index(missing[0][0])}", detail)


def _require_new_name(connection: Connection[Any], name: str) -> None:
    rows = _SQL["valid_names"].rows(connection)
    if likeness(name) in {likeness(known) for (known,) in rows}:
        raise KeyExists


def _add(connection: Connection[Any], row: dict[str, Any], recorder: Recorder, by: Context) -> Key:
    (made,) = keys_found(connection, _SQL["add"], {**row, "now": recorder.now, "by": by.actor})
    return made


def _row(id: UUID, name: str, roles: Sequence[str], ledgers: Sequence[str], key: str) -> dict[str, Any]:
    return {
        "id": id,
        "name": name,
        "roles": list(roles),
        "ledgers": list(ledgers),
        "key_sha256": digest_of(key),
    }


def keys_found(connection: Connection[Any], query: Query, wanted: dict[str, Any]) -> list[Key]:
    """Return the keys that a query finds. It selects `COLUMNS`."""
    return query.rows(connection, wanted, into=_key)


def _key(
    id: UUID,
    name: str,
    roles: list[str],
    ledgers: list[str],
    created_at: datetime,
    valid_until: datetime | None,
    created_by: str | None,
    revoked_at: datetime | None,
    revoked_by: str | None,
    state: KeyState,
) -> Key:
    return Key(
        id=id,
        name=name,
        roles=tuple(roles),
        ledgers=tuple(ledgers),
        created_at=instant(created_at),
        valid_until=None if valid_until is None else instant(valid_until),
        created_by=created_by,
        revoked_at=None if revoked_at is None else instant(revoked_at),
        revoked_by=revoked_by,
        state=state,
    )
