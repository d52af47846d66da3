"""Accounts in the past: each read equals the fold of the journal up to then, and uses only look-ups."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from domain.application import LedgerApplication
from domain.journal import snapshots
from domain.journal.database import Database
from domain.journal.reader import Past, read_past
from domain.model.accounts import Account, ChangeAccount
from domain.model.errors import AccountNotFound, InvalidRequest, JournalUnavailable, LedgerNotFound
from domain.model.events import State
from domain.model.registry import evolve
from domain.model.streams import account_stream
from domain.model.times import Instant
from tests.ledgers import CONTEXT, history, open_accounts, outcomes, transfer

pytestmark = pytest.mark.integration

ADDRESSES = ("a", "b", "late", "never")


class Clock:
    """A clock that a test sets, in seconds of one minute."""

    def __init__(self) -> None:
        self.second = 10

    def __call__(self) -> Instant:
        return at_second(self.second)


def at_second(second: float) -> Instant:
    return f"2026-01-01T00:00:{second:09.6f}Z"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def running(database: Database, clock: Clock) -> Iterator[LedgerApplication]:
    with LedgerApplication(database, clock) as ledger:
        ledger.start()
        yield ledger


@pytest.fixture
def ledger(database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[LedgerApplication]:
    """A ledger with a history of many snapshots, recorded in batches of one instant each."""
    monkeypatch.setattr(snapshots, "SNAPSHOT_EVERY", 4)
    with running(database, clock) as writing:
        open_accounts(writing, "a", "b")
        for batch in range(12):
            clock.second += (2, 0, -1)[batch % 3]  # instants shared by several batches, and a clock set back
            outcomes(writing.execute(*(transfer("a", "b", 1 + n) for n in range(batch % 4 + 1))).result(10))
            limit = ChangeAccount(CONTEXT, "main", "b", min_balance=-batch, metadata={"batch": str(batch)})
            writing.perform(limit)
        open_accounts(writing, "late")
        writing.perform(transfer("b", "late", 7))
    reading = LedgerApplication(database, clock)
    yield reading
    reading.close()


def states_by_position(database: Database) -> list[dict[str, State]]:
    """The states of all streams at each position, from 0 on."""
    states: list[dict[str, State]] = [{}]
    for recorded in history(database):
        known = states[-1].get(recorded.stream)
        states.append({**states[-1], recorded.stream: evolve(known, recorded)})
    return states


def found(ledger: LedgerApplication, address: str, at: int | Instant) -> tuple[Account | None, int | None]:
    """The account as it stood, None if not open, and the position that last changed it."""
    try:
        account, position, _ = ledger.account_at("main", address, at)
    except AccountNotFound as missing:
        return None, missing.position
    return account, position


def test_every_position_is_read_back_as_the_fold_there(ledger: LedgerApplication, database: Database) -> None:
    states = states_by_position(database)
    with database.connect("test") as connection:
        kept = connection.execute("SELECT count(*) FROM snapshots").fetchone()
    assert kept and kept[0] >= 10, "there are many snapshots to begin from"
    for position, then in enumerate(states):
        for address in ADDRESSES:
            expected = then.get(account_stream("main", address))
            assert found(ledger, address, position) == (expected, position)
    assert ledger.account_at("main", "a", len(states) - 1)[1:] == (len(states) - 1, len(states) - 1)


def test_an_instant_includes_all_that_was_recorded_at_it(
    ledger: LedgerApplication, database: Database
) -> None:
    states = states_by_position(database)
    recorded = [event.envelope.recorded_at for event in history(database)]
    assert any(earlier == later for earlier, later in pairwise(recorded)), "events share an instant"
    for second in range(9, Clock().second + 15):
        for at in (at_second(second), at_second(second + 0.000001), at_second(second - 0.000001)):
            if at > recorded[-1]:
                continue
            position = sum(instant <= at for instant in recorded)
            for address in ADDRESSES:
                assert found(ledger, address, at) == (
                    states[position].get(account_stream("main", address)),
                    position,
                )


def test_what_is_yet_to_come_is_refused(ledger: LedgerApplication, database: Database, clock: Clock) -> None:
    events = history(database)
    with pytest.raises(InvalidRequest) as refused:
        ledger.account_at("main", "a", len(events) + 1)
    assert refused.value.errors[0]["pointer"] == "?at_position"
    clock.second = 59
    assert found(ledger, "a", at_second(59))[1] == len(events)
    for at in (at_second(59.000001), "9999-12-31T23:59:59.999999Z"):
        with pytest.raises(InvalidRequest) as refused:
            ledger.account_at("main", "a", at)
        assert refused.value.errors[0]["pointer"] == "?at"
    with pytest.raises(InvalidRequest):
        ledger.account_at("nowhere", "a", len(events) + 1)


def test_a_clock_that_is_behind_the_journal_does_not_hide_what_was_recorded(
    ledger: LedgerApplication, database: Database, clock: Clock
) -> None:
    events = history(database)
    clock.second = 1
    newest = events[-1].envelope.recorded_at
    assert found(ledger, "a", newest)[1] == len(events)
    with pytest.raises(InvalidRequest):
        ledger.account_at("main", "a", newest.replace(".000000Z", ".000001Z"))


@pytest.mark.parametrize("at", [0, 1, "0001-01-01T00:00:00.000000Z", at_second(10)])
def test_the_ledger_is_looked_for_in_the_present(ledger: LedgerApplication, at: int | Instant) -> None:
    with pytest.raises(LedgerNotFound):
        ledger.account_at("nowhere", "a", at)
    with pytest.raises(AccountNotFound):
        ledger.account_at("main", "never", at)


def test_an_empty_journal_has_no_past(database: Database) -> None:
    reading = LedgerApplication(database)
    with pytest.raises(LedgerNotFound):
        reading.account_at("main", "a", 0)
    with pytest.raises(InvalidRequest):
        reading.account_at("main", "a", 1)
    reading.close()


def test_what_is_written_meanwhile_changes_no_past(database: Database, clock: Clock) -> None:
    with running(database, clock) as writing:
        open_accounts(writing, "a", "b")
        for _ in range(20):
            pending = writing.execute(*(transfer("a", "b", 1) for _ in range(20)))
            account, head = writing.account("main", "b")
            past, position, newest = writing.account_at("main", "b", head)
            assert (past, position) == (account, head) and newest >= head
            outcomes(pending.result(10))


def test_a_damaged_snapshot_refuses_the_reads_that_begin_from_it(
    ledger: LedgerApplication, database: Database, owner: psycopg.Connection[Any]
) -> None:
    owner.execute("UPDATE snapshots SET state = '{}' WHERE originator_id = 'main/accounts/b'")
    first = owner.execute(
        "SELECT min(notification_id) FROM events JOIN snapshots USING (originator_id, originator_version)"
        " WHERE originator_id = 'main/accounts/b'"
    ).fetchone()
    assert first is not None
    for position in (first[0], first[0] + 1):
        with pytest.raises(JournalUnavailable) as refused:
            ledger.account_at("main", "b", position)
        assert refused.value.reason == "unreadable"
    before = states_by_position(database)[first[0] - 1]
    assert found(ledger, "b", first[0] - 1) == (before["main/accounts/b"], first[0] - 1)


def append_foreign(owner: psycopg.Connection[Any], position: int, stream: str, version: int) -> None:
    """Append an event no release of this project has written."""
    row = (stream, version, "account.foreign", b"\xff", position)
    owner.execute("INSERT INTO events VALUES (%s, %s, %s, %s, %s)", row)
    owner.execute("UPDATE head SET position = %s", (position,))


def test_an_event_that_cannot_be_read_leaves_what_was_before_it(
    ledger: LedgerApplication, database: Database, owner: psycopg.Connection[Any]
) -> None:
    account, _, head = ledger.account_at("main", "b", len(history(database)))
    append_foreign(owner, head + 1, "main/accounts/b", account.version + 1)
    assert ledger.account_at("main", "b", head) == (account, head, head + 1)
    with pytest.raises(JournalUnavailable) as refused:
        ledger.account_at("main", "b", head + 1)
    assert refused.value.reason == "newer_version"


@pytest.mark.parametrize("gap", [0, 1])
def test_a_time_that_cannot_be_found_is_not_guessed(
    ledger: LedgerApplication, database: Database, owner: psycopg.Connection[Any], gap: int
) -> None:
    events = history(database)
    append_foreign(owner, len(events) + 1 + gap, "main/foreign", 1)
    with pytest.raises(JournalUnavailable) as refused:
        ledger.account_at("main", "b", events[-1].envelope.recorded_at)
    assert refused.value.reason == "unreadable"


def test_a_version_that_is_missing_is_not_passed_over(
    ledger: LedgerApplication, database: Database, owner: psycopg.Connection[Any]
) -> None:
    account, _, head = ledger.account_at("main", "b", len(history(database)))
    append_foreign(owner, head + 1, "main/accounts/b", 4 * account.version)
    with pytest.raises(JournalUnavailable):
        ledger.account_at("main", "b", head)


EVENTS = 50_000
# Every second event belongs to the account `main/accounts/hot`.
GENERATE_EVENTS = """
INSERT INTO events
SELECT
    CASE WHEN n %% 2 = 0 THEN 'main/accounts/hot' ELSE 'main/accounts/cold-' || n END,
    CASE WHEN n %% 2 = 0 THEN n / 2 ELSE 1 END,
    CASE WHEN n %% 2 = 1 OR n = 2 THEN 'account.opened' ELSE 'account.limits_changed' END,
    convert_to(jsonb_build_object(
        'class_version', 1,
        'recorded_at', to_char(timestamp '2026-01-01' + n * interval '1 ms', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'actor', '', 'correlation_id', '', 'causation_id', '', 'idempotency_key', NULL, 'traceparent', NULL,
        'data', CASE
            WHEN n %% 2 = 1 OR n = 2 THEN '{"asset": "USD/2", "normal_side": "credit", "metadata": {}}'
            ELSE '{}'
        END::jsonb || jsonb_build_object('min_balance', -n, 'max_balance', NULL)
    )::text, 'UTF8'),
    n
FROM generate_series(1, %s) AS n
"""


def write_much(database: Database) -> None:
    """Write a journal of many events, half of them of one account, with its snapshots."""
    with database.connect_as_owner("test") as owner:
        # Without statistics until a test gathers them.
        owner.execute("ALTER TABLE stored_events SET (autovacuum_enabled = false)")
        owner.execute(GENERATE_EVENTS, (EVENTS,))
        owner.execute("UPDATE head SET position = %s, recorded_at = '2026-01-02T00:00:00.000000Z'", (EVENTS,))
    with database.connect("test") as connection:
        for version in range(1000, EVENTS // 2, 1000):
            account: Account = read_past(connection, (), "main/accounts/hot", 2 * version).state
            wanted = (account.version, snapshots.ACCOUNT_TOPIC, snapshots.encode_snapshot(account))
            connection.execute("INSERT INTO snapshots VALUES ('main/accounts/hot', %s, %s, %s)", wanted)


@pytest.mark.parametrize("plans", ["auto", "force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("statistics", ["ANALYZE", "SELECT"])
@pytest.mark.prepared(by=write_much)
def test_a_read_of_the_past_looks_up_and_never_scans(
    database: Database, owner: psycopg.Connection[Any], statistics: str, plans: str
) -> None:
    owner.execute(statistics)
    with database.connect("test", autocommit=False) as connection:
        connection.execute(f"SET plan_cache_mode = {plans}")
        for place in range(8):
            position = 2 * (17_150 + place)
            for at in (position, f"2026-01-01T00:00:{position // 1000}.{position % 1000:03}000Z"):
                before = looked_at(connection)
                past = read_past(connection, ("main/ledger",), "main/accounts/hot", at)
                scans, rows = (after - was for after, was in zip(looked_at(connection), before, strict=True))
                assert expected(past) == (position, position // 2, -position)
                assert scans == 0
                assert 0 < rows <= 16 + 15 + (position // 2) % 1000 + 1


def expected(past: Past) -> tuple[int, int, int]:
    return past.position, past.state.version, past.state.min_balance


def looked_at(connection: psycopg.Connection[Any]) -> tuple[int, int]:
    """How often this transaction has scanned the journal from its beginning, and how many rows it looked up."""
    row = connection.execute(
        "SELECT seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = 'stored_events'::regclass"
    ).fetchone()
    assert row is not None
    return row[0], row[1]
