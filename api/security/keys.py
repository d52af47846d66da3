"""Who may call: keys to the API, their roles, and the ledgers that each is granted.

Only a hash of a key is kept. Keys made here are 256 random bits, so one round of SHA-256 hides them; a configured key
is the operator's own to choose well. Keys are never compared, they are looked up by their digest, in an index here and
in a dictionary in `KeyRing`. The time of that could at most show, to who tries keys without end, how a digest begins;
there is no way from a digest to a random key, so nobody can feel their way to one byte by byte.

Making, rotating and revoking a key is recorded in the journal (domain/model/keys.py), by the transaction that does it.
It holds the head's lock, so of two such changes one sees what the other has done.

The functions work on a connection that is in no transaction, and so serve the API and the command line alike. Those
that change keys raise `JournalUnavailable` while another writer holds the lock for too long.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID, uuid4

import psycopg
from psycopg import Connection
from psycopg.rows import tuple_row
from pydantic import SecretStr

from api.problems import BootstrapKeyFixed, KeyExists
from domain.journal.database import Database
from domain.journal.queries import load
from domain.journal.recording import Recorder, recording
from domain.model.errors import InvalidRequest
from domain.model.events import Context
from domain.model.keys import BOOTSTRAP, KeyMade, KeyRevoked, KeyRotated, likeness
from domain.model.streams import key_stream
from domain.model.times import Instant, instant
from projections.engine.live_version import Rows, read_rows

Role = Literal["client", "poster", "auditor", "operator"]
ROLES: tuple[Role, ...] = ("client", "poster", "auditor", "operator")
EVERY_LEDGER = "*"

ROLE_MEANINGS: Mapping[Role, str] = {
    "client": "acts and reads in its ledgers: opens and changes accounts, moves money; with every ledger granted, it"
    " makes ledgers too",
    "poster": "as client, but it opens, changes, freezes and closes no account and makes no ledger: it moves money"
    " within the limits that others set",
    "auditor": "reads everything in its ledgers, and the trail of keys; changes nothing",
    "operator": "runs projections, dead letters, webhooks, keys and payouts in doubt; neither posts nor reads accounts",
}
"""What each role may do, in the words that are shown where roles are chosen."""

NEEDS_LEDGERS: frozenset[Role] = frozenset({"client", "poster"})
"""The roles that are good for nothing without a ledger."""

KeyState = Literal["active", "expired", "revoked"]

MAX_OVERLAP_SECONDS = 30 * 24 * 60 * 60

AT_START = Context("tallystick", "start")
"""In whose name the bootstrap key is made and changed: it is configured where the service is started."""

_BOOTSTRAP_ID = UUID("00000000-0000-4000-8000-000000000001")
_SQL = load(__name__)


class Key(NamedTuple):
    """A key to the API, without the key itself. Its name is the actor of what is done with it.

    `valid_until` is None for a key without an end, `created_by` and `revoked_by` where nobody is known.
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
        """Tell whether the key was granted a ledger, whether or not the ledger exists."""
        return EVERY_LEDGER in self.ledgers or ledger in self.ledgers

    def may_grant(self, ledgers: Sequence[str]) -> bool:
        """Tell whether the key was granted each of these ledgers, and so may decide about what concerns them all."""
        return all(self.may_use(ledger) for ledger in ledgers)

    @property
    def granted(self) -> list[str] | None:
        """The names of the ledgers granted, None for every ledger."""
        return None if EVERY_LEDGER in self.ledgers else list(self.ledgers)

    @property
    def told(self) -> dict[str, Any]:
        """What events of the key say of it."""
        return {
            "name": self.name,
            "roles": self.roles,
            "ledgers": self.ledgers,
            "valid_until": self.valid_until,
        }


NOBODY = Key(UUID(int=0), "nobody", (), (), "", None)
"""Who calls where no key is asked for."""


class Wanted(NamedTuple):
    """What is asked of a new key. `ledgers` must exist, `ledgers_to_come` need not: it is granted both."""

    name: str
    roles: Sequence[str]
    ledgers: Sequence[str]
    ledgers_to_come: Sequence[str] = ()


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


def add_key(connection: Connection[Any], wanted: Wanted, by: Context) -> tuple[Key, str]:
    """Make a key; return it and the key itself, which nobody can read again.

    Raises, in this order, `InvalidRequest` if a ledger does not exist that is not said to come, and `KeyExists` if the
    name is that of a valid key, or can be taken for it.
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
    """Make a new key with the name, roles and ledgers of a valid one, which ends when the overlap is over.

    Returns the new key and the key itself, None if no valid key has this id. One that is rotated again ends when it
    would have, or earlier. Raises `BootstrapKeyFixed` for the bootstrap key: its row belongs to the environment, which
    would bring the old key back at the next start.
    """
    if id == _BOOTSTRAP_ID:
        raise BootstrapKeyFixed
    key = new_key()
    with recording(connection) as recorder:
        old = look_at_key(connection, id)
        if old is None or old.state != "active":
            return None
        change = {"id": id, "overlap_seconds": overlap_seconds, "now": recorder.now}
        (old,) = _keys(connection, _SQL["end"], change)
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
    """Make a key invalid for ever; tell whether there is such a key. Again is as once, and is recorded once."""
    if (known := look_at_key(connection, id)) is None or known.state == "revoked":
        return known is not None
    with recording(connection) as recorder:
        change = {"id": id, "now": recorder.now, "by": by.actor}
        for revoked in _keys(connection, _SQL["revoke"], change):
            recorder.record([(key_stream(str(id)), KeyRevoked(**revoked.told))], by)
    return True


def find_key(connection: Connection[Any], digest: bytes) -> Key | None:
    """Return the valid key with this digest, None if there is none."""
    return next(iter(_keys(connection, _SQL["find"], {"key_sha256": digest})), None)


def look_at_key(connection: Connection[Any], id: UUID) -> Key | None:
    """Return the key with this id, valid or not, None if there is none."""
    return next(iter(_keys(connection, _SQL["look_at"], {"id": id})), None)


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

    `granted` are the ledgers of who asks, None for every ledger: a key that may use others is not shown. They end
    early with the one that makes them larger than `most_bytes`, unless that is None.
    """
    time, id = after or (None, None)
    order, beyond = ("DESC", "<") if descending else ("ASC", ">")
    query = _SQL["list"].replace(":order", order).replace(":beyond", beyond)
    wanted: dict[str, Any] = {"after_time": time, "after_id": id, "limit": limit, "state": state}
    wanted["granted"] = None if granted is None else list(granted)
    query = query.replace(":columns", _SQL["columns"])
    rows = read_rows(connection.cursor(row_factory=tuple_row), query, wanted, most_bytes)
    return rows.read_as(_key(*row) for row in rows)


def _keep_bootstrap_key(connection: Connection[Any], key: str) -> None:
    """Make or change the bootstrap key, unless it is as it should be, and have that recorded."""
    row = _row(_BOOTSTRAP_ID, BOOTSTRAP, ROLES, [EVERY_LEDGER], key)
    query = _SQL["bootstrap"].replace(":columns", _SQL["columns"])
    found = connection.cursor(row_factory=tuple_row).execute(query, row).fetchone()
    known, digest = (None, None) if found is None else (_key(*found[1:]), bytes(found[0]))
    is_same = digest == row["key_sha256"]
    if known and is_same and known.state != "revoked" and known[2:4] == (ROLES, (EVERY_LEDGER,)):
        return
    with recording(connection) as recorder:
        try:
            changed = {**row, "now": recorder.now, "by": AT_START.actor}
            (kept,) = _keys(connection, _SQL["keep_bootstrap_key"], changed)
        except psycopg.errors.UniqueViolation:
            raise ValueError("the bootstrap key is in use as a key of another name") from None
        replaces = str(_BOOTSTRAP_ID) if known and not is_same else None
        made = KeyMade(replaces=replaces, **kept.told)
        recorder.record([(key_stream(str(_BOOTSTRAP_ID)), made)], AT_START)


def _require_ledgers(connection: Connection[Any], ledgers: Sequence[str]) -> None:
    cursor = connection.cursor(row_factory=tuple_row)
    missing = cursor.execute(_SQL["missing_ledgers"], {"ledgers": list(ledgers)}).fetchall()
    if missing:
        detail = "there is no ledger of this name; one that is made later is named in ledgers_to_come"
        raise InvalidRequest(f"/ledgers/{list(ledgers).index(missing[0][0])}", detail)


def _require_new_name(connection: Connection[Any], name: str) -> None:
    rows = connection.cursor(row_factory=tuple_row).execute(_SQL["valid_names"]).fetchall()
    if likeness(name) in {likeness(known) for (known,) in rows}:
        raise KeyExists


def _add(connection: Connection[Any], row: dict[str, Any], recorder: Recorder, by: Context) -> Key:
    (made,) = _keys(connection, _SQL["add"], {**row, "now": recorder.now, "by": by.actor})
    return made


def _row(id: UUID, name: str, roles: Sequence[str], ledgers: Sequence[str], key: str) -> dict[str, Any]:
    return {
        "id": id,
        "name": name,
        "roles": list(roles),
        "ledgers": list(ledgers),
        "key_sha256": digest_of(key),
    }


def _keys(connection: Connection[Any], query: str, wanted: dict[str, Any]) -> list[Key]:
    query = query.replace(":columns", _SQL["columns"])
    rows = connection.cursor(row_factory=tuple_row).execute(query.encode(), wanted).fetchall()
    return [_key(*row) for row in rows]


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
    end, revoked = (None if time is None else instant(time) for time in (valid_until, revoked_at))
    made = instant(created_at)
    return Key(id, name, tuple(roles), tuple(ledgers), made, end, created_by, revoked, revoked_by, state)
