"""Whatever the table `stored_events` has abbreviated, the view and all readers show whole, byte for byte."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection, errors

from domain.journal.abbreviations import ENVELOPE, TEXTS, WHOLE, Abbreviator
from domain.journal.arrays import bigint_array, bytea_array, text_array
from domain.journal.database import Database
from domain.journal.encoding import (
    encode_abbreviated,
    encode_abbreviated_envelope,
    encode_envelope,
    encode_event,
)
from domain.journal.eventsourcing.factory import DATABASE_URL, SCHEMA, JournalFactory
from domain.journal.migrations import migrate
from domain.journal.queries import load
from domain.journal.reader import Row, fold_rows
from domain.journal.writer import JournalWriter
from domain.model.events import Envelope, Event, State
from domain.transparency.leaves import hash_of
from projections.engine.batches import read_batch
from projections.read_models.seals import PROJECTION as SEALS
from projections.registry import install
from tests.author import Author
from tests.databases import Databases, installation_before
from tests.integration.exporting import exported, run, seal_all
from tests.ledgers import folded, history, open_accounts, outcomes, running, transfer
from tests.projecting import await_head, projecting
from tests.unit.generated_events import ENVELOPES, EVENTS

pytestmark = pytest.mark.integration

_SQL = load("domain.journal.journal")
COLUMNS = "originator_id, originator_version, topic, state, notification_id"
BEFORE = "0019_stored_events"

COMMANDS = st.lists(st.tuples(ENVELOPES, st.lists(EVENTS, min_size=1, max_size=4)), min_size=1, max_size=4)
TOPIC = "transaction.posted"

# Each example is rolled back, so examples may share a database.
many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


class Undone(Exception):
    """Ends a transaction that is not to be kept."""


@contextmanager
def undone(connection: Connection[Any]) -> Iterator[None]:
    try:
        with connection.transaction():
            yield
            raise Undone
    except Undone:
        pass


def append(connection: Connection[Any], rows: Sequence[tuple[str, bytes, int | None]]) -> list[Row]:
    """Append topics, states as they are stored and `shares`. Return what readers of the table make of the rows."""
    streams = [f"s/{number}" for number in range(len(rows))]
    (head,) = _SQL["head"].only(connection)
    appended = connection.execute(
        _SQL["append"],
        {
            "after": head,
            "last": head + len(rows),
            "recorded_at": "2999-01-01T00:00:00.000000Z",
            "clock": None,
            "age_seconds": 0.0,
            "limit": None,
            "channel": "test",
            "announces": True,
            "streams": text_array(streams),
            "versions": bigint_array([1] * len(rows)),
            "topics": text_array([topic for topic, _, _ in rows]),
            "states": bytea_array([state for _, state, _ in rows]),
            "shares": bigint_array([WHOLE if shares is None else shares for _, _, shares in rows]),
        },
    ).fetchone()
    assert appended is not None and appended[0]
    return list(read_batch(connection, SEALS, head, head + len(rows)).events)


def shown(connection: Connection[Any], number: int) -> list[Row]:
    """The last rows of the view."""
    query = f"SELECT {COLUMNS} FROM events ORDER BY notification_id DESC LIMIT %s"
    return connection.execute(query, (number,), binary=True).fetchall()[::-1]


@many
@given(COMMANDS)
def test_what_writers_store_is_shown_whole(
    owner: Connection[Any], commands: Sequence[tuple[Envelope, Sequence[Event]]]
) -> None:
    states: list[bytes] = []
    stored: list[tuple[str, bytes, int | None]] = []
    for envelope, events in commands:
        short, encoded = encode_abbreviated_envelope(envelope), encode_envelope(envelope)
        for number, event in enumerate(events):
            states.append(encode_event(event, encoded))
            stored.append((event.TOPIC, encode_abbreviated(event, ENVELOPE if number else short), number))
    with undone(owner):
        found = append(owner, stored)
        assert [state for _, _, _, state, _ in found] == states
        assert shown(owner, len(stored)) == found


ODD = [b"}", b"1,", b'"', b"\\", b"\\x41", b"\\101", b"\x00", b"\xff", b"\xc3\xbc"]
PIECES = [*TEXTS, *TEXTS.values(), ENVELOPE, *ODD]
ANYTHING = st.lists(st.sampled_from(PIECES)).map(b"".join) | st.binary(max_size=30)


SHARES = st.none() | st.integers(0, 3) | st.integers(-32_768, 32_767).filter(lambda shares: shares != WHOLE)


@many
@given(st.lists(st.tuples(st.just(TOPIC), ANYTHING, SHARES), min_size=1))
def test_whatever_is_stored_is_shown_as_it_is_read_and_makes_no_query_fail(
    owner: Connection[Any], rows: Sequence[tuple[str, bytes, int | None]]
) -> None:
    """Also what only a malicious service could store: envelopes that are nowhere, or in what has none."""
    with undone(owner):
        found = append(owner, rows)
        assert shown(owner, len(rows)) == found


@many
@given(st.lists(ANYTHING, min_size=1))
def test_whatever_is_imported_or_inserted_is_shown_as_it_was(
    owner: Connection[Any], states: list[bytes]
) -> None:
    abbreviate = Abbreviator()
    with undone(owner):
        found = append(owner, [(TOPIC, *abbreviate(TOPIC, state)) for state in states])
        assert [state for _, _, _, state, _ in found] == states
        assert shown(owner, len(states)) == found
        for version, state in enumerate(states, 1):  # as an older release does
            place = ("an/older/release", version, TOPIC, state, 1_000 + version)
            owner.execute(f"INSERT INTO events ({COLUMNS}) VALUES (%s, %s, %s, %s, %s)", place)
        assert [state for _, _, _, state, _ in shown(owner, len(states))] == states


def write(database: Database) -> None:
    """Write a journal with every kind of event, projected and sealed."""
    author = Author(database, seed=4)
    author.write(rounds=6)
    author.write_of_accounts()
    author.write_of_payouts(8)
    seal_all(database)


@pytest.fixture
def other(databases: Databases) -> Iterator[Database]:
    """Another database, migrated, with every projection installed."""
    with databases.installed(None) as database:
        yield database


def rows_of(connection: Connection[Any]) -> list[Row]:
    return connection.execute(
        f"SELECT {COLUMNS} FROM events ORDER BY notification_id", binary=True
    ).fetchall()


def copy_whole(connection: Connection[Any], rows: Sequence[Row], into: str) -> None:
    """Copy rows as an older release has written them, and move the head."""
    with connection.transaction():
        with connection.cursor().copy(f"COPY {into} ({COLUMNS}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        connection.execute(
            "UPDATE head SET position = %s, recorded_at = '2020-01-01T00:00:00.000000Z'", (rows[-1][4],)
        )


@pytest.mark.prepared(by=write)
def test_a_journal_is_the_same_to_all_in_whichever_form_it_is_stored(
    database: Database, other: Database, owner: Connection[Any]
) -> None:
    """Leaves, tiles, exports, the view for people, the library, and the fold of each stream."""
    rows = rows_of(owner)
    forms = (
        "SELECT count(*) FILTER (WHERE shares > 0), count(*) FILTER (WHERE shares IS NULL) FROM stored_events"
    )
    shared, whole = owner.execute(forms).fetchall()[0]
    assert shared > len(rows) / 3 and whole == 0
    with other.connect_as_owner("test") as connection:
        copy_whole(connection, rows, "events")
        assert connection.execute(forms).fetchall() == [(0, len(rows))]
        with projecting(other):
            await_head(connection)
        assert rows_of(connection) == rows
        assert [hash_of(p, s, v, t, b) for s, v, t, b, p in rows_of(connection)] == [
            hash_of(p, s, v, t, b) for s, v, t, b, p in rows
        ]
        for query in (
            "SELECT * FROM seals_v1 ORDER BY level, number",
            "SELECT * FROM journal ORDER BY position",
            "SELECT * FROM journal_entries ORDER BY position, entry",
        ):
            assert connection.execute(query).fetchall() == owner.execute(query).fetchall()
    lines, of_other = exported(database).splitlines(), exported(other).splitlines()
    assert of_other[1 : len(rows) + 1] == lines[1 : len(rows) + 1]
    assert notifications(database) == notifications(other) == rows
    streams = sorted({stream for stream, *_ in rows})
    assert loaded(database, streams) == loaded(other, streams) == folded(history(database))


def loaded(database: Database, streams: Sequence[str]) -> dict[str, State]:
    """Streams, as a writer loads them."""
    writer = JournalWriter(database, "test")
    try:
        return fold_rows(writer.load(streams))
    finally:
        writer.disconnect()


def notifications(database: Database) -> list[Row]:
    """All events, as the eventsourcing library's reader sees them."""
    factory = JournalFactory({DATABASE_URL: database.url, SCHEMA: database.schema})
    try:
        found = factory.application_recorder().select_notifications(1, 10_000)
    finally:
        factory.close()
    return [(str(n.originator_id), n.originator_version, n.topic, n.state, n.id) for n in found]


@pytest.mark.prepared(by=write)
def test_what_is_restored_is_stored_abbreviated(
    database: Database, databases: Databases, owner: Connection[Any], tmp_path: Path
) -> None:
    file = tmp_path / "journal.ndjson"
    assert run("export", file, database=database).exit_code == 0
    with databases.empty() as restored:
        migrate(restored)
        install(restored)
        assert run("import", file, database=restored).exit_code == 0
        with restored.connect("test") as connection:
            assert rows_of(connection) == rows_of(owner)
            size = "SELECT sum(octet_length(state)) FROM stored_events"
            assert connection.execute(size).fetchall()[0] <= owner.execute(size).fetchall()[0]


@pytest.fixture
def older(migrated_database: Database) -> Iterator[Database]:
    """An installation of a release whose `events` is a table."""
    with installation_before(BEFORE, migrated_database) as older:
        yield older


@pytest.mark.prepared(by=write)
def test_events_of_before_stay_as_they_are_and_the_journal_continues(
    older: Database, owner: Connection[Any]
) -> None:
    rows = rows_of(owner)
    with older.connect_as_owner("test") as connection:
        copy_whole(connection, rows, "events")
        (file,) = connection.execute("SELECT pg_relation_filenode('events')").fetchall()
        assert migrate(older)[-1] >= BEFORE
        assert connection.execute("SELECT pg_relation_filenode('stored_events')").fetchall() == [file]
        assert rows_of(connection) == rows
        with running(older) as ledger:
            open_accounts(ledger, "after", "afterwards", book="later")
            outcomes(ledger.execute(transfer("after", "afterwards", 1, book="later")).result())
        continued = rows_of(connection)
    assert continued[: len(rows)] == rows and len(continued) > len(rows) + 5
    folded(history(older))


def test_the_migration_waits_for_a_reader_without_keeping_others_waiting(older: Database) -> None:
    """A reader of hours, such as an export, has the table. Writers go on, a second late at most."""
    with older.connect_as_owner("test") as reader:
        reader.execute("BEGIN; SELECT count(*) FROM events")
        migrating = threading.Thread(target=migrate, args=(older,))
        migrating.start()
        with older.connect_as_owner("test") as writer:
            until(lambda: waits_for_the_table(writer))
            for version in range(1, 6):
                place = ("s", version, TOPIC, b"{}", version)
                writer.execute(f"INSERT INTO events ({COLUMNS}) VALUES (%s, %s, %s, %s, %s)", place)
            assert migrating.is_alive()
            reader.execute("ROLLBACK")
            migrating.join(60)
            assert not migrating.is_alive()
            assert len(rows_of(writer)) == 5
            with pytest.raises(errors.UniqueViolation):
                writer.execute(f"INSERT INTO events ({COLUMNS}) VALUES ('s', 5, 't', '', 6)")


def waits_for_the_table(connection: Connection[Any]) -> bool:
    query = "SELECT FROM pg_locks WHERE relation = 'events'::regclass AND mode = 'AccessExclusiveLock' AND NOT granted"
    return connection.execute(query).fetchone() is not None


def until(condition: Any) -> None:
    give_up_at = monotonic() + 60
    while not condition():
        assert monotonic() < give_up_at
        sleep(0.01)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT max(originator_version) FROM events WHERE in_stream(originator_id, 's')",
        "SELECT topic FROM events WHERE in_stream(originator_id, 's') ORDER BY originator_version DESC LIMIT 1",
        "SELECT * FROM events WHERE notification_id = 7",
        "SELECT * FROM events WHERE notification_id > 7 AND notification_id <= 9 ORDER BY notification_id",
        "SELECT * FROM events WHERE notification_id = ANY('{7,9}')",
        "SELECT e.* FROM unnest('{s}'::text[]) AS s (id) CROSS JOIN LATERAL"
        " (SELECT * FROM events WHERE in_stream(originator_id, s.id) ORDER BY originator_version LIMIT 1) AS e",
        "SELECT e.state FROM unnest('{7}'::bigint[]) AS p (at) JOIN events AS e ON e.notification_id = p.at",
        "SELECT originator_id FROM events WHERE topic = 'ledger.opened'",
        "SELECT * FROM journal WHERE in_stream(stream, 's') AND version = 3",
        "SELECT * FROM journal WHERE position BETWEEN 7 AND 9",
    ],
)
def test_queries_on_the_view_use_the_indexes_of_the_table(owner: Connection[Any], query: str) -> None:
    owner.execute("SET enable_seqscan = off")
    plan = "\n".join(line for (line,) in owner.execute(f"EXPLAIN {query}").fetchall())
    assert "Seq Scan" not in plan, plan
    if "state" not in query and "*" not in query:
        assert "SubPlan" not in plan, plan
