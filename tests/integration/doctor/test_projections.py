"""What the doctor reports of projections that stand still: nobody runs them, or they fail, hang, or wait for a lock."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg import Connection

from domain.journal.database import Database
from projections.engine.leadership import try_acquire
from projections.rebuilding.rebuilder import rebuild
from projections.registry import PROJECTIONS
from projections.running.positions import progress
from scripts.commands.projections import projections as controls
from scripts.doctor import projections
from scripts.doctor.examination import Check, Limits, Scope, examine
from scripts.doctor.finding import Finding
from tests.commands import invoke
from tests.ledgers import open_accounts, running, transfer
from tests.projecting import await_head, await_progress, eventually, holder, projecting, set_state

pytestmark = pytest.mark.integration

AT_ONCE = Limits(lag_seconds=0, look_again_seconds=0.2)


def fill(database: Database) -> None:
    """Write a short journal and bring its projections to the head. No service runs."""
    with running(database) as ledger, projecting(database), database.connect("test") as connection:
        open_accounts(ledger, "a", "b")
        await_head(connection)


def found(database: Database, limits: Limits = AT_ONCE) -> dict[str, Finding]:
    """The findings of projections by code. Each code is found once."""
    scope = Scope(whole=True, sample_events=1, seed=1)
    findings = examine(database, Check("it", projections.standing), scope, 60.0, limits).findings
    assert len({finding.code for finding in findings}) == len(findings)
    return {finding.code: finding for finding in findings}


def write(database: Database) -> None:
    with running(database) as ledger:
        ledger.perform(transfer("a", "b", 1))


@pytest.mark.prepared(by=fill)
def test_a_projection_that_fails_as_a_whole_is_told_with_its_error_and_event(
    database: Database, owner: Connection[Any]
) -> None:
    owner.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'no space left' USING ERRCODE = 'disk_full'; END $$;"
        " CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON balances_v1 EXECUTE FUNCTION full_disk()"
    )
    with projecting(database):
        write(database)
        seen = await_progress(owner, "balances", lambda seen: seen.last_error is not None)
        await_head(owner, "entries")
        # A failing projector has no connection between two attempts.
        eventually(lambda: holder(owner, "balances") is None)
        told = found(database, Limits(look_again_seconds=0.2))
        assert set(told) == {"projection_failing"}
        failing = told["projection_failing"]
        ((event, stream, topic),) = owner.execute(
            "SELECT notification_id, originator_id, topic FROM events WHERE notification_id = %s",
            (seen.position + 1,),
        ).fetchall()
        ((since,),) = owner.execute(
            "SELECT to_char(failing_since AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
            " FROM projection_versions WHERE name = 'balances'"
        ).fetchall()
        assert seen.last_error is not None
        assert seen.last_error.splitlines()[0] in failing.found
        assert f"since {since}, at event {event} of {stream} ({topic})" in failing.found
        assert "Start" not in failing.remedy
        assert failing.commands == ["tallystick replay balances"]
        owner.execute("DROP TRIGGER full_disk ON balances_v1; DROP FUNCTION full_disk()")
        await_head(owner)
    assert found(database) == {}


@pytest.mark.prepared(by=fill)
def test_whoever_failed_and_is_gone_is_told_from_whoever_fails(
    database: Database, owner: Connection[Any]
) -> None:
    write(database)
    owner.execute(
        "UPDATE projection_versions SET last_error = 'DiskFull: no room', failed_at = now() - interval '1 min',"
        " failing_since = now() - interval '2 min' WHERE name = 'balances'"
    )
    told = found(database)
    assert set(told) == {"projector_absent"}
    assert any("its last error: DiskFull: no room" in words for words in told["projector_absent"].examples)
    owner.execute("UPDATE projection_versions SET failed_at = now()")
    told = found(database)
    assert set(told) == {"projector_absent", "projection_failing"}
    # As an older release noted it: without the time, and only while connected.
    owner.execute("UPDATE projection_versions SET failed_at = NULL, failing_since = NULL")
    assert set(found(database)) == {"projector_absent"}
    with database.connect("tallystick arrivals"):
        assert set(found(database)) == {"projector_absent", "projection_failing"}


@pytest.mark.prepared(by=fill)
def test_many_that_fail_are_one_finding_that_names_them_all(
    database: Database, owner: Connection[Any]
) -> None:
    write(database)
    owner.execute("UPDATE projection_versions SET last_error = 'DiskFull: no room', failed_at = now()")
    (failing,) = found(database).values()
    assert failing.code == "projection_failing"
    assert failing.found == f"{len(PROJECTIONS)} projections: {', '.join(sorted(PROJECTIONS))}"
    assert len(failing.examples) == len(PROJECTIONS)


@pytest.mark.prepared(by=fill)
def test_an_error_that_is_over_is_not_told(database: Database, owner: Connection[Any]) -> None:
    owner.execute("UPDATE projection_versions SET last_error = 'a deadlock', failed_at = now()")
    assert found(database) == {}


@contextmanager
def locked(owner: Connection[Any], table: str) -> Iterator[None]:
    """A table that nobody else can read or write."""
    with owner.transaction():
        owner.execute(f"LOCK TABLE {table}".encode())
        yield


@pytest.mark.prepared(by=fill)
def test_a_projection_that_waits_for_a_lock_names_who_holds_it(
    database: Database, owner: Connection[Any]
) -> None:
    with projecting(database), database.connect_as_owner("test meddler") as meddler:
        with locked(meddler, "balances_v1"):
            write(database)
            await_head(owner, "entries")

            def is_blocked() -> bool:
                return "projection_blocked" in found(database)

            eventually(is_blocked)
            blocked = found(database)["projection_blocked"]
            pid = meddler.info.backend_pid
            assert f"PostgreSQL process {pid} (test meddler" in blocked.found
            assert blocked.commands == [f"SELECT pg_terminate_backend({pid});"]
        await_head(owner)
    assert found(database) == {}


@pytest.mark.prepared(by=fill)
def test_a_place_that_hangs_is_freed_for_whoever_stands_by(
    database: Database, owner: Connection[Any]
) -> None:
    options = ["--database-url", database.url, "--schema", database.schema]
    with database.connect("test hung projector") as hung:
        assert try_acquire(hung, "projection", PROJECTIONS["balances"].of_shape)
        with projecting(database):
            write(database)
            await_head(owner, "entries")
            assert set(found(database)) == {"projection_stuck"}
            freed = invoke(controls, ["restart", "balances", *options])
            assert freed.exit_code == 0, freed.output
            assert f"PostgreSQL process {hung.info.backend_pid} (test hung projector" in freed.stdout
            await_head(owner)
    nobody = invoke(controls, ["restart", "balances", *options])
    assert (nobody.exit_code, nobody.stdout) == (1, "")
    assert "nobody advances balances" in nobody.stderr
    assert invoke(controls, ["restart", "nothing", *options]).exit_code == 3


@pytest.mark.prepared(by=fill)
def test_what_halted_and_what_is_paused_is_told_by_name_with_the_event(
    database: Database, owner: Connection[Any]
) -> None:
    write(database)
    stands = progress(owner, "entries").position
    owner.execute(
        "UPDATE projection_versions SET state = 'halted', last_error = 'newer_version: x'"
        " WHERE name IN ('entries', 'seals')"
    )
    set_state(owner, "due", "paused")
    set_state(owner, "balances", "paused")
    told = found(database, Limits())
    assert set(told) == {"projection_halted", "projection_paused"}
    assert told["projection_paused"].commands == [
        "tallystick projections resume balances",
        "tallystick projections resume due",
    ]
    entries, seals = told["projection_halted"].examples
    assert "newer_version: x; since 20" in entries
    assert f"at event {stands + 1} of main/accounts/" in seals
    assert "of main/transactions/" in entries and "(transaction.posted)" in entries


@pytest.mark.prepared(by=fill)
def test_the_version_that_a_replay_leaves_is_no_warning(database: Database, owner: Connection[Any]) -> None:
    for name in ("entries", "balances"):
        assert rebuild(database, name).switched
    (left,) = found(database).values()
    assert (left.code, left.kind.severity) == ("projection_retired_left", "info")
    assert left.commands == ["tallystick replay drop-retired balances entries"]


@pytest.mark.prepared(by=fill)
def test_what_publishes_to_nats_is_told_apart(database: Database, owner: Connection[Any]) -> None:
    owner.execute("INSERT INTO projections VALUES ('nats', 1)")
    owner.execute("INSERT INTO projection_versions (name, version, live) VALUES ('nats', 1, true)")
    assert set(found(database)) == {"nats_publisher_absent"}
    owner.execute(
        "UPDATE projection_versions SET last_error = 'NoServersError', failed_at = now() WHERE name = 'nats'"
    )
    assert "NoServersError" in found(database)["nats_failing"].found
    # Also while there is nothing to publish, because nobody would notice the next event.
    owner.execute("UPDATE projection_versions SET position = (SELECT position FROM head) WHERE name = 'nats'")
    assert set(found(database)) == {"nats_failing"}
    owner.execute("UPDATE projection_versions SET position = 0, last_error = NULL WHERE name = 'nats'")
    with database.connect("test publisher") as publisher:
        assert try_acquire(publisher, "publish", "nats")
        assert set(found(database)) == {"projection_stuck"}


@pytest.mark.prepared(by=fill)
def test_a_projection_whose_tables_were_dropped_is_made_anew_as_the_doctor_advises(
    database: Database, owner: Connection[Any]
) -> None:
    owner.execute("DROP TABLE turnovers_v1")
    missing = found(database)["projection_tables_missing"]
    assert missing.commands == [
        "tallystick replay accept entries --reason 'its tables were dropped'",
    ]
    refused = rebuild(database, "entries")
    assert (refused.state, refused.difference_expected) == ("differing", "version 1 lacks turnovers_v1")
    accepted = rebuild(database, "entries", accept_difference="its tables were dropped")
    assert accepted.switched
    assert set(found(database)) == {"projection_retired_left"}
    # The next rebuild finds what it needs and drops the rest of the one before.
    assert rebuild(database, "entries").switched
