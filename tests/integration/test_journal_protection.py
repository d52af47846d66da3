"""The database itself refuses this to every user: rewriting history and moving its head back."""

from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
import pytest
from msgspec.structs import replace
from psycopg import errors
from psycopg.rows import dict_row

from domain.application import LedgerApplication
from domain.journal.database import SERVICE_ROLE, Database
from domain.journal.encoding import encode_envelope, encode_event
from domain.journal.eventsourcing.factory import JournalFactory, UnsafeSetting
from domain.model.accounts import Frozen
from domain.model.errors import JournalUnavailable
from domain.model.events import Context
from domain.model.holds import SettleHold, VoidHold
from domain.model.idempotency import Operation, operation_id
from domain.model.reversals import ReverseTransaction
from domain.model.streams import account_stream, ledger_stream
from domain.model.transactions import POSTINGS, Description
from tests.ledgers import CONTEXT, history, open_accounts, outcomes, running, transfer
from tests.unit.given_when_then import HISTORY

pytestmark = pytest.mark.integration


@pytest.fixture
def journal(database: Database) -> Database:
    """A journal with a ledger, two accounts and a transaction: seven events."""
    with running(database) as ledger:
        open_accounts(ledger, "alice", "bob")
        description = Description(reference="order-1", description="two teas", metadata={"till": "7"})
        ledger.perform(replace(transfer("alice", "bob", 1050, key="key-1"), description=description))
    return database


@pytest.fixture
def service(journal: Database) -> Iterator[psycopg.Connection[Any]]:
    """A connection with the rights of the service."""
    with journal.connect("tallystick test") as connection:
        yield connection


@pytest.fixture
def owner_of_journal(journal: Database) -> Iterator[psycopg.Connection[Any]]:
    """A connection of a superuser, who owns the tables."""
    with journal.connect_as_owner("tallystick test") as connection:
        yield connection


REWRITING = [
    "UPDATE events SET topic = 'ledger.opened'",
    "UPDATE events SET state = 'forged' WHERE notification_id = 3",
    "UPDATE events SET notification_id = notification_id + 100",
    "DELETE FROM events",
    "DELETE FROM events WHERE notification_id = 7",
    "MERGE INTO events USING (SELECT 1) AS one ON notification_id = 1 WHEN MATCHED THEN DELETE",
    "UPDATE stored_events SET topic = 'ledger.opened'",
    "UPDATE stored_events SET state = 'forged' WHERE notification_id = 3",
    "UPDATE stored_events SET shares = 1 WHERE notification_id = 3",
    "UPDATE stored_events SET notification_id = notification_id + 100",
    "DELETE FROM stored_events",
    "DELETE FROM stored_events WHERE notification_id = 7",
    "TRUNCATE stored_events",
    "MERGE INTO stored_events USING (SELECT 1) AS one ON notification_id = 1 WHEN MATCHED THEN DELETE",
    "INSERT INTO stored_events SELECT * FROM stored_events ON CONFLICT (stream_key(originator_id), originator_version)"
    " DO UPDATE SET state = 'forged'",
]
MOVING_BACK = [
    "UPDATE head SET position = position - 1",
    "UPDATE head SET position = 0",
    "UPDATE head SET recorded_at = '0001-01-01T00:00:00.000000Z'",
    "DELETE FROM head",
    "TRUNCATE head",
]
UNLOCKING = [
    "DROP TABLE stored_events",
    "DROP TABLE stored_events CASCADE",
    "ALTER TABLE stored_events DISABLE TRIGGER ALL",
    "ALTER TABLE stored_events DISABLE TRIGGER events_are_never_changed",
    "DROP TRIGGER events_are_never_changed ON stored_events",
    "ALTER TABLE stored_events RENAME TO old_events",
    "ALTER TABLE stored_events ADD COLUMN more text",
    "CREATE TRIGGER mine BEFORE INSERT ON stored_events FOR EACH ROW EXECUTE FUNCTION refuse_to_rewrite_history()",
    "CREATE RULE mine AS ON INSERT TO stored_events DO INSTEAD NOTHING",
    "CREATE TABLE mine () INHERITS (stored_events)",
    "CREATE INDEX mine ON stored_events (topic)",
    "CREATE OR REPLACE FUNCTION refuse_to_rewrite_history() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN RETURN NEW; END'",
    "CREATE OR REPLACE FUNCTION refuse_to_move_back() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN RETURN NEW; END'",
    "DROP FUNCTION refuse_to_rewrite_history() CASCADE",
    "CREATE OR REPLACE VIEW journal AS SELECT 1 AS position",
    "DROP VIEW journal",
    "DROP TABLE head",
    "ALTER TABLE head DISABLE TRIGGER ALL",
    "INSERT INTO head (position, recorded_at) VALUES (0, '')",
    "SET session_replication_role = replica",
    "DELETE FROM migrations",
    "INSERT INTO migrations (name) VALUES ('9999_mine')",
    "UPDATE snapshots SET state = 'forged'",
    "ALTER VIEW events RENAME TO old_events",
    "CREATE OR REPLACE VIEW events AS SELECT * FROM stored_events",
    "DROP VIEW events",
    "DROP TRIGGER events_are_never_changed ON events",
    "DROP TRIGGER events_are_stored ON events",
    "CREATE OR REPLACE FUNCTION stream_key(stream text) RETURNS bytea LANGUAGE sql IMMUTABLE RETURN ''::bytea",
    "DROP INDEX events_stream",
    "CREATE OR REPLACE FUNCTION store_whole() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
]


def everything(connection: psycopg.Connection[Any]) -> tuple[Any, ...]:
    events = connection.execute("SELECT * FROM events ORDER BY notification_id").fetchall()
    stored = connection.execute("SELECT * FROM stored_events ORDER BY notification_id").fetchall()
    return events, stored, connection.execute("SELECT * FROM head").fetchall()


@pytest.mark.parametrize("statement", [*REWRITING, *UNLOCKING, "DELETE FROM head", "TRUNCATE head"])
def test_the_service_has_no_right_to(statement: str, service: psycopg.Connection[Any]) -> None:
    before = everything(service)
    assert service.execute("SELECT current_user").fetchone() == (SERVICE_ROLE,)
    with pytest.raises(errors.InsufficientPrivilege):
        service.execute(statement)
    assert everything(service) == before


@pytest.mark.parametrize("statement", [*REWRITING, *MOVING_BACK])
def test_even_the_owner_is_refused(statement: str, owner_of_journal: psycopg.Connection[Any]) -> None:
    before = everything(owner_of_journal)
    with pytest.raises(errors.RestrictViolation, match=r"append-only|never moves back"):
        owner_of_journal.execute(statement)
    assert everything(owner_of_journal) == before


@pytest.mark.parametrize("statement", MOVING_BACK[:3])
def test_the_service_cannot_move_the_head_back(statement: str, service: psycopg.Connection[Any]) -> None:
    before = everything(service)
    with pytest.raises(errors.RestrictViolation, match="never moves back"):
        service.execute(statement)
    assert everything(service) == before


def test_there_is_one_head(owner_of_journal: psycopg.Connection[Any]) -> None:
    for only_row, error in ((True, errors.UniqueViolation), (False, errors.CheckViolation)):
        with pytest.raises(error):
            owner_of_journal.execute(
                "INSERT INTO head (only_row, position, recorded_at) VALUES (%s, 0, '')", (only_row,)
            )


@pytest.mark.parametrize(
    "columns",
    [
        "originator_id, originator_version, topic, state, 99",
        "'main/other', originator_version, topic, state, notification_id",
    ],
)
def test_no_version_and_no_position_is_given_out_twice(
    columns: str, service: psycopg.Connection[Any]
) -> None:
    with pytest.raises(errors.UniqueViolation):
        service.execute(f"INSERT INTO events SELECT {columns} FROM events WHERE notification_id = 3")


def test_two_streams_that_a_collation_takes_for_one_are_two(service: psycopg.Connection[Any]) -> None:
    query = "SELECT collation_name FROM information_schema.columns WHERE table_name = %s AND column_name = %s"
    for table in ("stored_events", "events", "snapshots"):
        rows = service.execute(query, (table, "originator_id")).fetchall()
        assert {collation for (collation,) in rows} == {"C"}


def test_the_journal_can_be_read_with_sql(service: psycopg.Connection[Any]) -> None:
    with service.cursor(row_factory=dict_row) as cursor:
        shown = cursor.execute("SELECT * FROM journal ORDER BY position").fetchall()
    assert ", ".join(shown[0]) == (
        "position, stream, version, ledger, type, schema_version, recorded_at, actor, correlation_id,"
        " causation_id, idempotency_key, traceparent, payload"
    )
    assert [event["position"] for event in shown] == [1, 2, 3, 4, 5, 6, 7]
    assert {event["ledger"] for event in shown} == {"main"}
    assert {event["actor"] for event in shown} == {CONTEXT.actor}
    assert {event["traceparent"] for event in shown} == {CONTEXT.traceparent}
    posted = shown[-1]
    assert (posted["type"], posted["version"], posted["schema_version"]) == ("transaction.posted", 1, 2)
    assert posted["stream"] == f"main/transactions/{posted['causation_id']}"
    assert posted["idempotency_key"] == "key-1" and shown[0]["idempotency_key"] is None
    assert posted["payload"]["metadata"] == {"till": "7"}
    assert posted["payload"]["entries"][0]["amount"] == 1050


def test_the_view_shows_what_the_service_decodes(journal: Database, service: psycopg.Connection[Any]) -> None:
    rows = service.execute(
        "SELECT stream, version, position, type, payload, correlation_id,"
        """ to_char(recorded_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM journal ORDER BY position"""
    ).fetchall()
    for row, recorded in zip(rows, history(journal), strict=True):
        assert row == (
            recorded.stream,
            recorded.version,
            recorded.position,
            recorded.event.TOPIC,
            msgspec.json.decode(msgspec.json.encode(recorded.event)),
            recorded.envelope.correlation_id,
            recorded.envelope.recorded_at,
        )


def test_entries_can_be_read_with_sql(service: psycopg.Connection[Any]) -> None:
    rows = service.execute(
        "SELECT ledger, position, entry, account, asset, direction, amount, balance_after, reference,"
        " recorded_at = effective_at, transaction_id FROM journal_entries ORDER BY position, entry"
    ).fetchall()
    (causation,) = service.execute("SELECT causation_id FROM journal WHERE position = 7").fetchall()[0]
    assert rows == [
        ("main", 7, 1, "alice", "USD/2", "debit", 1050, -1050, "order-1", True, causation),
        ("main", 7, 2, "bob", "USD/2", "credit", 1050, 1050, "order-1", True, causation),
    ]


def test_the_entries_are_all_that_move_money(journal: Database, service: psycopg.Connection[Any]) -> None:
    def asked(key: str) -> tuple[Context, str, Operation, Description]:
        return CONTEXT, "main", Operation(key, operation_id("main", key), "f"), Description()

    with running(journal) as ledger:
        results = ledger.execute(
            replace(transfer("alice", "bob", 100, key="hold"), pending=True),
            SettleHold(*asked("settlement"), operation_id("main", "hold"), 30),
            ReverseTransaction(*asked("reversal"), operation_id("main", "settlement"), 10),
            replace(transfer("alice", "bob", 7, key="another"), pending=True),
            VoidHold(*asked("void"), operation_id("main", "another")),
        )
        outcomes(results.result())
    assert {topic for (topic,) in service.execute("SELECT DISTINCT type FROM journal").fetchall()} >= {
        event.TOPIC for event in POSTINGS
    }
    rows = service.execute(
        "SELECT amount, direction, balance_after FROM journal_entries WHERE account = 'bob' ORDER BY position"
    ).fetchall()
    assert rows == [(1050, "credit", 1050), (30, "credit", 1080), (10, "debit", 1070)]


def append(connection: psycopg.Connection[Any], stream: str, version: int, topic: str, state: bytes) -> None:
    """Append an event as another release would."""
    with connection.transaction():
        row = connection.execute("UPDATE head SET position = position + 1 RETURNING position").fetchone()
        assert row is not None
        values = (stream, version, topic, state, row[0])
        connection.execute("INSERT INTO events VALUES (%s, %s, %s, %s, %s)", values)


def test_bytes_that_are_no_json_show_as_null(service: psycopg.Connection[Any]) -> None:
    for version, state in enumerate([b"\xff\x00", b"no json", b'{"a":"\\u0000"}', b""], start=1):
        append(service, "strange", version, "strange.event", state)
    rows = service.execute("SELECT type, payload, actor FROM journal WHERE stream = 'strange'").fetchall()
    assert rows == [("strange.event", None, None)] * 4


def test_database_functions_of_the_library_are_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(JournalFactory.POSTGRES_ENABLE_DB_FUNCTIONS, "yes")
    with pytest.raises(UnsafeSetting, match="tailing readers lose events"):
        LedgerApplication(database)


FROZEN_UNTIL = encode_event(Frozen(reason=""), encode_envelope(HISTORY)).replace(
    b'"reason":""', b'"reason":"","until":null'
)
NEWER = [
    pytest.param("account.exploded", b'{"class_version":1}', "newer_version", id="an unknown topic"),
    pytest.param("account.opened", b'{"class_version":2,"data":{}}', "newer_version", id="a newer version"),
    pytest.param("account.opened", b"\xff", "unreadable", id="corrupted bytes"),
    pytest.param("account.frozen", FROZEN_UNTIL, "unreadable", id="a member too many"),
]


@pytest.mark.parametrize(("topic", "state", "reason"), NEWER)
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_an_aggregate_that_cannot_be_read_is_not_written_and_others_are(
    topic: str, state: bytes, reason: str, warm: bool, database: Database
) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "alice", "bob", "carol")
        if warm:
            ledger.perform(transfer("alice", "bob", 1))
        with database.connect("tallystick test") as connection:
            version = ledger.account("main", "alice")[0].version + 1
            append(connection, account_stream("main", "alice"), version, topic, state)
        blocked, other = transfer("alice", "bob", 5, key="k1"), transfer("carol", "bob", 7, key="k2")
        refused, done = ledger.execute(blocked, other).result()
        assert isinstance(refused, JournalUnavailable) and refused.reason == reason
        outcomes([done])
        with pytest.raises(JournalUnavailable) as raised:
            ledger.account("main", "alice")
        assert raised.value.reason == reason
        assert ledger.account("main", "bob")[0].balance == 7 + warm
        assert ledger.account("main", "carol")[0].balance == -7
        (again,) = ledger.execute(blocked).result()  # its key was left free, and it is still refused
        assert isinstance(again, JournalUnavailable) and again.reason == reason


def test_a_ledger_that_cannot_be_read_is_not_written_and_others_are(database: Database) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "alice", "bob", book="newer")
        open_accounts(ledger, "alice", "bob", book="main")
        with database.connect("tallystick test") as connection:
            append(connection, ledger_stream("newer"), 3, "ledger.exploded", b"{}")
        with pytest.raises(JournalUnavailable) as raised:
            ledger.perform(transfer("alice", "bob", 5, book="newer"))
        assert raised.value.reason == "newer_version"
        with pytest.raises(JournalUnavailable):
            ledger.account("newer", "alice")
        assert ledger.perform(transfer("alice", "bob", 5, book="main")).state.status == "posted"
