"""Keys and their trail: changed and recorded in one transaction, beside writers that do not know of them."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import typer
from psycopg import Connection
from pydantic import SecretStr

from api.problems import KeyExists
from api.security import keys as security
from api.security.keys import Wanted, add_key, ensure_bootstrap_key, list_keys, revoke_key, rotate_key
from api.settings import Settings
from domain.journal import recording
from domain.journal.database import Database
from domain.journal.migrations import migrate
from domain.journal.queries import Query
from domain.model.errors import InvalidRequest, JournalUnavailable
from domain.model.events import Context, Recorded
from domain.model.installation.keys import ApiKey, KeyMade, KeyRevoked
from domain.model.registry import evolve
from projections.audit import differences, one_instant, violations
from projections.outbox.messages import message_of
from scripts.serving import serve
from tests.databases import Databases
from tests.integration.exporting import exported, run, seal_all, verified
from tests.ledgers import history, open_accounts, outcomes, running, transfer
from tests.projecting import append, await_head, projecting

pytestmark = pytest.mark.integration

BY = Context(
    "root at a terminal", "conversation-1", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
)
SHOP = Wanted("shop", ["client"], (), ["main"])


@pytest.fixture
def connection(database: Database) -> Iterator[Connection[Any]]:
    with database.connect("test keys") as opened:
        yield opened


def trail(database: Database) -> list[Recorded]:
    return [event for event in history(database) if event.stream.startswith("-/keys/")]


def topics(database: Database) -> list[str]:
    return [event.event.TOPIC for event in trail(database)]


def test_the_trail_folds_into_what_the_key_is(database: Database, connection: Connection[Any]) -> None:
    made, _ = add_key(connection, SHOP, BY)
    revoke_key(connection, made.id, BY)
    first, second = trail(database)
    assert first.event == KeyMade(
        name="shop", roles=("client",), ledgers=("main",), valid_until=None, replaces=None
    )
    assert isinstance(second.event, KeyRevoked)
    for event in (first, second):
        envelope = event.envelope
        assert (envelope.actor, envelope.correlation_id, envelope.traceparent) == BY
        assert (envelope.causation_id, envelope.idempotency_key) == (BY.correlation_id, None)
    expected = ApiKey(str(made.id), "shop", ("client",), ("main",), None, True, 2, 2)
    assert evolve(evolve(None, first), second) == expected
    # A key made by an older release has no first event.
    assert evolve(None, second) == expected


@pytest.mark.parametrize("at", ["append", "add"])
def test_a_key_and_its_record_are_there_both_or_neither(
    database: Database, connection: Connection[Any], monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    broken = Query("SELECT * FROM what_is_not_there")
    module, name = (recording, "append") if at == "append" else (security, "add")
    monkeypatch.setattr(module, "_SQL", {**module._SQL, name: broken})
    with pytest.raises(psycopg.errors.UndefinedTable):
        add_key(connection, SHOP, BY)
    monkeypatch.undo()
    assert (list_keys(connection), topics(database)) == ([], [])
    made, _ = add_key(connection, SHOP, BY)
    monkeypatch.setattr(recording, "_SQL", {**recording._SQL, "append": broken})
    for change in (
        lambda: rotate_key(connection, made.id, 0, BY),
        lambda: revoke_key(connection, made.id, BY),
    ):
        with pytest.raises(psycopg.errors.UndefinedTable):
            change()
    assert (list_keys(connection), topics(database)) == ([made], ["key.made"])


def test_one_that_dies_in_between_leaves_nothing(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(recorder: Any, *_: Any) -> None:
        pid = recorder._connection.info.backend_pid
        assert len(list_keys(recorder._connection)) == 1
        owner.execute("SELECT pg_terminate_backend(%s)", (pid,))

    monkeypatch.setattr(recording.Recorder, "record", die)
    with database.connect("test dies") as dying, pytest.raises(psycopg.OperationalError):
        add_key(dying, SHOP, BY)
    monkeypatch.undo()
    with database.connect("test keys") as connection:
        assert (list_keys(connection), topics(database)) == ([], [])
        add_key(connection, SHOP, BY)
    assert topics(database) == ["key.made"]


def test_beside_writers_of_money_positions_have_no_gap(database: Database, owner: Connection[Any]) -> None:
    """The group commit decides ahead on a guess of the head, and a key takes the guessed position."""
    with running(database) as ledger, ThreadPoolExecutor(1) as other:
        open_accounts(ledger, "a", "b")
        stop = threading.Event()

        def make_keys() -> int:
            count = 0
            with database.connect("test keys") as connection:
                while not stop.is_set() or count < 20:
                    made, _ = add_key(connection, SHOP._replace(name=f"shop {count}"), BY)
                    revoke_key(connection, made.id, BY)
                    count += 1
            return count

        making = other.submit(make_keys)
        for _ in range(100):
            outcomes(ledger.execute(*(transfer("a", "b", 1) for _ in range(5))).result())
        stop.set()
        count = making.result()
        assert ledger.account("main", "b")[0].posted_credits == 500
    assert [event.position for event in history(database)] == list(range(1, len(history(database)) + 1))
    assert topics(database) == ["key.made", "key.revoked"] * count
    with one_instant(owner):
        assert list(violations(owner)) == []


def test_who_waits_too_long_for_the_journal_is_told_and_nothing_is_changed(
    database: Database, connection: Connection[Any], owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = add_key(connection, SHOP, BY)
    monkeypatch.setattr(recording, "_LIMITS", "SET LOCAL lock_timeout = '50ms'")
    with owner.transaction():
        owner.execute("SELECT * FROM head FOR UPDATE")
        with pytest.raises(JournalUnavailable) as raised:
            revoke_key(connection, made.id, BY)
    assert raised.value.reason == "locked"
    assert list_keys(connection) == [made]
    assert revoke_key(connection, made.id, BY)


def test_one_that_stops_with_the_lock_is_ended_by_the_server(
    database: Database, connection: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shorter = recording._LIMITS.replace("'10s'", "'300ms'")
    monkeypatch.setattr(recording, "_LIMITS", shorter)
    stopped = database.connect("test stopped")
    holding = recording.recording(stopped)
    holding.__enter__()
    # The next one waits for only a moment.
    monkeypatch.undo()
    add_key(connection, SHOP, BY)
    with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
        holding.__exit__(None, None, None)
    stopped.close()


def test_of_many_that_give_a_name_at_once_one_gets_it(
    database: Database, connection: Connection[Any]
) -> None:
    def make(_: int) -> bool:
        with database.connect("test keys") as own:
            try:
                return bool(add_key(own, SHOP, BY))
            except KeyExists:
                return False

    with ThreadPoolExecutor(6) as making:
        assert sum(making.map(make, range(6))) == 1
    assert topics(database) == ["key.made"]


def test_keys_that_share_a_name_since_before_go_on(
    database: Database, connection: Connection[Any], owner: Connection[Any]
) -> None:
    """An older release gave names twice, and reserved names. Such keys are rotated and revoked like any other."""
    ids = [uuid4(), uuid4()]
    for id in ids:
        owner.execute(
            "INSERT INTO api_keys (id, name, roles, ledgers, key_sha256)"
            " VALUES (%s, 'tallystick', '{client}', '{}', %s)",
            (id, id.bytes),
        )
    assert [key.created_by for key in list_keys(connection)] == [None, None]
    with pytest.raises(KeyExists):
        add_key(connection, SHOP._replace(name="Tallystick"), BY)
    rotated = rotate_key(connection, ids[0], 60, BY)
    assert rotated is not None and rotated[0].name == "tallystick"
    assert revoke_key(connection, ids[1], BY)
    assert topics(database) == ["key.made", "key.rotated", "key.revoked"]
    assert [event.version for event in trail(database)] == [1, 1, 1]


def test_the_first_ledger_that_is_missing_is_named(connection: Connection[Any]) -> None:
    with pytest.raises(InvalidRequest) as raised:
        add_key(connection, SHOP._replace(ledgers=["*", "first", "second"]), BY)
    assert raised.value.errors[0]["pointer"] == "/ledgers/1"


class TestBootstrap:
    """The key from the environment, which changes where the service is started."""

    def test_it_is_recorded_when_it_is_made_and_changed_and_not_otherwise(self, database: Database) -> None:
        first, second = SecretStr("x" * 24), SecretStr("y" * 24)
        for key in (first, first, None, second, second):
            assert ensure_bootstrap_key(database, key) is None
        made, changed = trail(database)
        assert [made.event.TOPIC, changed.event.TOPIC] == ["key.made", "key.made"]
        assert (made.version, changed.version, made.envelope.actor) == (1, 2, "tallystick")
        assert isinstance(made.event, KeyMade) and isinstance(changed.event, KeyMade)
        assert (made.event.replaces, made.stream) == (None, f"-/keys/{changed.event.replaces}")

    def test_one_that_was_revoked_and_is_brought_back_is_recorded(
        self, database: Database, connection: Connection[Any]
    ) -> None:
        key = SecretStr("x" * 24)
        ensure_bootstrap_key(database, key)
        (bootstrap,) = list_keys(connection)
        revoke_key(connection, bootstrap.id, BY)
        ensure_bootstrap_key(database, key)
        assert topics(database) == ["key.made", "key.revoked", "key.made"]
        (again,) = list_keys(connection)
        assert (again.state, again.revoked_at, again.revoked_by) == ("active", None, None)

    def test_one_that_is_made_since_there_is_none_is_recorded(self, database: Database) -> None:
        assert ensure_bootstrap_key(database, None) is not None
        assert topics(database) == ["key.made"]


class TestAudit:
    """Every reader of the whole journal accepts the trail."""

    @pytest.fixture
    def journal(self, database: Database) -> Database:
        """A journal of money and keys, mixed."""
        with database.connect("test keys") as connection:
            add_key(connection, SHOP._replace(name="first"), BY)
            with running(database) as ledger:
                open_accounts(ledger, "a", "b")
                outcomes(ledger.execute(transfer("a", "b", 5)).result())
                made, _ = add_key(connection, SHOP._replace(name="second"), BY)
                outcomes(ledger.execute(transfer("a", "b", 5)).result())
            rotate_key(connection, made.id, 60, BY)
            revoke_key(connection, made.id, BY)
        return database

    def test_no_rule_is_broken_and_every_projection_is_its_fold(
        self, journal: Database, owner: Connection[Any]
    ) -> None:
        with projecting(journal):
            await_head(owner)
        with one_instant(owner):
            assert list(violations(owner)) == []
        assert differences(owner) == []

    def test_an_export_is_verified_and_imported_and_the_same_again(
        self, journal: Database, databases: Databases, tmp_path: Any
    ) -> None:
        seal_all(journal)
        file = tmp_path / "journal.jsonl"
        file.write_bytes(exported(journal))
        assert verified(file) == (0, {})
        with databases.empty() as other:
            migrate(other)
            assert run("import", file, database=other).exit_code == 0
            # Keys are not part of it, and the trail of keys made here follows after it.
            with other.connect("test keys") as connection:
                assert list_keys(connection) == []
            ensure_bootstrap_key(other, None)
            assert topics(other) == [*topics(journal), "key.made"]
            events = [line for line in exported(other).splitlines() if line.startswith(b'{"position"')]
            assert events[:-1] == [
                line for line in file.read_bytes().splitlines() if line.startswith(b'{"position"')
            ]

    def test_reports_have_nothing_of_keys(self, journal: Database) -> None:
        for options in ([], ["--ledger", "main"]):
            for report in ("hledger", "beancount"):
                result = run("report", report, *options, database=journal)
                assert "keys" not in result.stdout

    def test_what_is_out_of_place_is_found(self, journal: Database, owner: Connection[Any]) -> None:
        (row,) = owner.execute("SELECT state FROM events WHERE topic = 'key.revoked'").fetchall()
        append(owner, "main/keys/1", 1, "key.revoked", row[0])
        append(owner, "-/keys/1", 3, "key.revoked", row[0])
        with one_instant(owner):
            found = {violation.code for violation in violations(owner)}
        assert found == {"event_misplaced", "version_gap"}

    def test_the_view_of_the_journal_names_no_ledger(self, journal: Database, owner: Connection[Any]) -> None:
        query = "SELECT DISTINCT ledger FROM journal WHERE type LIKE %s"
        assert owner.execute(query, ["key.%"]).fetchall() == [(None,)]
        assert owner.execute(query, ["account.%"]).fetchall() == [("main",)]

    def test_a_broker_is_told_under_a_subject_that_is_no_ledgers(
        self, journal: Database, owner: Connection[Any]
    ) -> None:
        query = (
            "SELECT originator_id, originator_version, topic, state, notification_id FROM events"
            " WHERE topic LIKE 'key.%' ORDER BY notification_id LIMIT 1"
        )
        (row,) = owner.execute(query).fetchall()
        message = message_of(row, "https://books.example")
        assert (message.id, message.ledger, message.type) == ("-/1", "-", "key.made")
        assert b'"source":"https://books.example/v1/audit/events"' in message.body
        assert b'"ledger":null' in message.body


def test_a_start_that_cannot_record_the_key_says_so(
    database: Database,
    owner: Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(recording, "_LIMITS", "SET LOCAL lock_timeout = '50ms'")
    monkeypatch.setattr(serve, "DATABASE_TIMEOUT_SECONDS", 0.2)
    settings = Settings(database_url=database.url, schema_=database.schema, bootstrap_key=SecretStr("x" * 24))
    (installation,) = settings.placed()
    with owner.transaction():
        owner.execute("SELECT * FROM head FOR UPDATE")
        with pytest.raises(typer.Exit):
            serve.prepare(settings, installation)
    assert "lock" in capsys.readouterr().err
    assert topics(database) == []
    assert serve.prepare(settings, installation) is None
    assert topics(database) == ["key.made"]
