"""The indexes of streams: by key in a new journal; by name, then by both, then by key in an older one."""

import hashlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection, errors

from domain.journal import stream_index
from domain.journal.database import Database
from domain.journal.encoding import encode_envelope, encode_event
from domain.journal.migrations import migrate
from domain.model.accounts import OpenAccount
from domain.model.commands import Outcome
from domain.model.ledgers import LedgerOpened
from domain.model.streams import account_stream
from domain.placement.ledger_map import held
from projections.registry import install
from scripts.doctor import installation
from tests.databases import installation_before
from tests.integration.doctor.examining import codes
from tests.ledgers import CONTEXT, history, open_accounts, opening, outcomes, running, transfer
from tests.service import ROOT
from tests.unit.given_when_then import HISTORY

pytestmark = pytest.mark.integration

BEFORE = "0020_stream_keys"
OPENED = encode_event(LedgerOpened(metadata={}), encode_envelope(HISTORY))
FIRST = "INSERT INTO events VALUES (%s, %s, %s, %s, %s)"
BY_NAME, BY_KEY, LEDGERS = "events_pkey", "events_stream", "events_ledgers"
FIND = "SELECT * FROM events WHERE in_stream(originator_id, 'main/accounts/a') AND originator_version > 3"
FIND_AS_BEFORE = "SELECT * FROM events WHERE originator_id = 'main/accounts/a' AND originator_version > 3"


@pytest.fixture
def older(migrated_database: Database) -> Iterator[Database]:
    """An installation of the release before, with some events, migrated by this one."""
    with installation_before(BEFORE, migrated_database) as older:
        with older.connect_as_owner("test") as connection:
            connection.execute(FIRST, ("main/ledger", 1, LedgerOpened.TOPIC, OPENED, 1))
            connection.execute("UPDATE head SET position = 1")
        assert BEFORE in migrate(older)
        install(older)
        yield older


@pytest.fixture
def owner_of_older(older: Database) -> Iterator[Connection[Any]]:
    """A connection with all rights on the older installation."""
    with older.connect_as_owner("test") as connection:
        yield connection


def indexes(connection: Connection[Any]) -> set[str]:
    """The indexes of the journal."""
    query = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'stored_events'::regclass"
    return {name for (name,) in connection.execute(query).fetchall()} - {"events_notification_id"}


def plan(connection: Connection[Any], query: str) -> str:
    """How PostgreSQL carries a query out if it need not read the whole table."""
    connection.execute("SET enable_seqscan = off")
    return "\n".join(line for (line,) in connection.execute(f"EXPLAIN {query}").fetchall())


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.sampled_from(
    ["main/accounts/a:b", "\\", "\\x41", "\\101\\\\", "ü/💶", "-/keys/1"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NAMES)
def test_the_key_is_the_beginning_of_the_sha_256_of_the_name(owner: Connection[Any], name: str) -> None:
    (key,) = owner.execute("SELECT stream_key(%s)", (name,)).fetchall()
    assert key == (hashlib.sha256(name.encode()).digest()[:15],)


def test_a_new_journal_has_the_index_by_key_alone(database: Database, owner: Connection[Any]) -> None:
    assert indexes(owner) == {BY_KEY, LEDGERS}
    assert BY_KEY in plan(owner, FIND)
    assert stream_index.finish(database) is False
    assert "upgrade_unfinished" not in codes(database, installation.schema)


def test_each_query_uses_the_index_that_there_is(older: Database, owner_of_older: Connection[Any]) -> None:
    assert indexes(owner_of_older) == {BY_NAME}
    assert BY_NAME in plan(owner_of_older, FIND)
    assert BY_NAME in plan(owner_of_older, FIND_AS_BEFORE)
    assert codes(older, installation.schema) == ["upgrade_unfinished"]
    assert finished(older) == "older releases can no longer run here"
    assert indexes(owner_of_older) == {BY_KEY, LEDGERS}
    assert BY_KEY in plan(owner_of_older, FIND)
    assert LEDGERS in plan(owner_of_older, "SELECT originator_id FROM events WHERE topic = 'ledger.opened'")
    assert codes(older, installation.schema) == []
    assert finished(older) == "nothing is left of older releases"


def finished(database: Database) -> str:
    """What the command says."""
    command = [sys.executable, "-m", "scripts.tallystick", "migrate", "--finish"]
    command += ["--database-url", database.url, "--schema", database.schema]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return ran.stdout.splitlines()[-1]


def test_an_older_release_can_be_given_its_index_back(
    older: Database, owner_of_older: Connection[Any]
) -> None:
    page = (ROOT / "scripts" / "README.md").read_text(encoding="utf-8")
    statements = re.findall(r"`((?:CREATE UNIQUE INDEX|ALTER TABLE)[^`]* events_pkey[^`]*)`", page)
    assert len(statements) == 2
    stream_index.finish(older)
    for statement in statements:
        owner_of_older.execute(statement)
    assert BY_NAME in plan(owner_of_older, FIND_AS_BEFORE)
    assert codes(older, installation.schema) == ["upgrade_unfinished"]
    assert stream_index.finish(older) is True
    assert indexes(owner_of_older) == {BY_KEY, LEDGERS}


def test_writers_go_on_while_the_index_is_made_and_the_other_dropped(
    older: Database, owner_of_older: Connection[Any]
) -> None:
    with running(older) as ledger:
        open_accounts(ledger, "a", "b", book="other")
        finishing = threading.Thread(target=stream_index.finish, args=(older,))
        made = 0
        finishing.start()
        while finishing.is_alive() or made < 20:
            outcomes(ledger.execute(transfer("a", "b", 1, key=f"k-{made}", book="other")).result())
            made += 1
        again = outcomes(ledger.execute(transfer("a", "b", 1, key="k-0", book="other")).result())
        assert [outcome.recorded for outcome in again] == [False]
    assert indexes(owner_of_older) == {BY_KEY, LEDGERS}
    with running(older) as ledger:
        assert ledger.account("other", "b")[0].balance == made
        assert held(owner_of_older) == ["main", "other"]


def test_no_version_is_given_out_twice_at_any_time(older: Database, owner_of_older: Connection[Any]) -> None:
    for _ in ("by name", "by key"):
        with pytest.raises(errors.UniqueViolation):
            owner_of_older.execute(FIRST, ("main/ledger", 1, LedgerOpened.TOPIC, OPENED, 2))
        stream_index.finish(older)


def test_what_a_killed_process_leaves_is_begun_again(
    older: Database, owner_of_older: Connection[Any]
) -> None:
    with older.connect_as_owner("test") as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM events")
        failed = threading.Thread(target=finish_until_killed, args=(older,))
        failed.start()
        with pytest.raises(stream_index.FinishedElsewhere):
            until(lambda: kill_the_one_that_waits(owner_of_older, older))
        failed.join(60)
        reader.execute("ROLLBACK")
    assert indexes(owner_of_older) == {BY_NAME, BY_KEY}
    assert BY_NAME in plan(owner_of_older, FIND)
    with running(older) as ledger:
        open_accounts(ledger, "a", "b", book="other")
        assert stream_index.finish(older) is True
        outcomes(ledger.execute(transfer("a", "b", 1, book="other")).result())
    assert indexes(owner_of_older) == {BY_KEY, LEDGERS}
    assert len(history(older)) == 8


def finish_until_killed(older: Database) -> None:
    with pytest.raises(psycopg.OperationalError):
        stream_index.finish(older)


def kill_the_one_that_waits(connection: Connection[Any], older: Database) -> bool:
    """End the session that makes the index, once it waits for the reader. Raises `FinishedElsewhere` just before."""
    making = (
        "query LIKE 'CREATE UNIQUE INDEX%%' AND wait_event = 'virtualxid' AND datname = current_database()"
    )
    if connection.execute(f"SELECT FROM pg_stat_activity WHERE {making}").fetchone() is None:
        return False
    try:
        stream_index.finish(older)
    finally:
        connection.execute(f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE {making}")
    return True


def until(condition: Any) -> None:
    give_up_at = monotonic() + 60
    while not condition():
        assert monotonic() < give_up_at
        sleep(0.01)


def test_two_names_with_one_key_harm_nobody_else(database: Database, owner: Connection[Any]) -> None:
    """Nobody can make such names, but the later stream could not begin, and that is all."""
    alike = ", ".join(f"'{account_stream('main', name)}'" for name in ("twin", "other-twin"))
    owner.execute(
        "CREATE OR REPLACE FUNCTION stream_key(stream text) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE"
        f" RETURN CASE WHEN stream IN ({alike}) THEN 'alike'::bytea ELSE sha256(stream::bytea) END"
    )
    with running(database) as ledger:
        open_accounts(ledger, "alice", "twin")
        names = ("carol", "other-twin", "dave")
        results = ledger.execute(*(OpenAccount(CONTEXT, "main", name, opening()) for name in names)).result()
        assert [isinstance(result, Outcome) for result in results] == [True, False, True]
        assert isinstance(results[1], errors.UniqueViolation)
        outcomes(ledger.execute(transfer("alice", "twin", 5)).result())
    with running(database) as ledger:
        assert ledger.account("main", "twin")[0].balance == 5
