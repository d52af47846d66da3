"""Balances at a time equal the plain sum of all entries: by both clocks, at ends of spans, for batches of any size."""

import random
from collections.abc import Iterator
from datetime import timedelta
from itertools import repeat
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from domain.journal.database import Database
from domain.journal.queries import load
from domain.model.events import Recorded
from domain.model.times import instant, moment
from projections.engine.projection import directed
from projections.read_models.balances_at import posted_at, trial_balance
from projections.read_models.entries import PROJECTION, Clock, StatementPlace, list_entries
from projections.registry import add_version, create_indexes
from tests.postings import ASSETS, Line, generated, lines, project_in_batches, transferred

pytestmark = pytest.mark.integration

CLOCKS: tuple[Clock, ...] = ("recorded", "effective")
CLOCK = pytest.mark.parametrize("clock", CLOCKS)


def sizes(chance: random.Random) -> Iterator[int]:
    while True:
        yield chance.choice((1, 2, 7, 60))


@pytest.fixture
def chance() -> random.Random:
    return random.Random(11)


@pytest.fixture(params=[0, 150, 400], ids=["this release", "two releases", "an older release"])
def posted(
    database: Database, owner: Connection[Any], chance: random.Random, request: pytest.FixtureRequest
) -> list[Line]:
    """Some hundred postings, projected."""
    events = generated(chance, 400, older=request.param)
    project_in_batches(owner, events, sizes(chance))
    return list(lines(events))


def sums(found: list[Line]) -> tuple[int, int]:
    return (
        sum(line.amount for line in found if line.direction == "debit"),
        sum(line.amount for line in found if line.direction == "credit"),
    )


def times_around(posted: list[Line], clock: Clock, chance: random.Random, count: int) -> list[str]:
    """Times of entries, a microsecond before and after them, and times before and after all entries."""
    near = {
        instant(moment(line.place(clock)[0]) + timedelta(microseconds=shift))
        for line in chance.sample(posted, count)
        for shift in (-1, 0, 1)
    }
    return [*near, "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"]


@CLOCK
def test_what_an_account_had_posted_at_a_time(
    owner: Connection[Any], posted: list[Line], chance: random.Random, clock: Clock
) -> None:
    for account in ASSETS:
        for at in times_around(posted, clock, chance, 25):
            expected = sums(
                [line for line in posted if line.account == account and line.place(clock)[0] <= at]
            )
            found = posted_at(owner, "main", account, clock=clock, at=at).found
            assert (found.at, tuple(found.posted)) == (at, expected)
    assert posted_at(owner, "other", "a", clock=clock).found.posted == (0, 0)


@CLOCK
def test_a_trial_balance_at_a_time(
    owner: Connection[Any], posted: list[Line], chance: random.Random, clock: Clock
) -> None:
    for at in times_around(posted, clock, chance, 100):
        past = [line for line in posted if line.place(clock)[0] <= at]
        expected = [
            (asset, *map(str, sums([line for line in past if line.asset == asset])))
            for asset in sorted({line.asset for line in past})
        ]
        assert trial_balance(owner, "main", clock=clock, at=at).found == expected
        assert all(debits == credits for _, debits, credits in expected)
    assert trial_balance(owner, "other", clock=clock).found == []


@CLOCK
def test_statements_run_in_the_order_of_either_clock(
    owner: Connection[Any], posted: list[Line], clock: Clock
) -> None:
    for account in ASSETS:
        balance, expected = 0, []
        for line in sorted(
            (line for line in posted if line.account == account), key=lambda line: line.place(clock)
        ):
            balance += line.change
            kind = ("posting", "settlement", "reversal")[line.position % 3]
            expected.append((line.place(clock), kind, line.direction, line.amount, balance))
        for descending in (False, True):
            found: list[Any] = []
            after: StatementPlace | None = None
            while page := list_entries(
                owner, "main", account, clock=clock, after=after, limit=13, descending=descending
            ).rows:
                found += page
                after = page[-1].place(clock)
            shown = [
                (tuple(row.place(clock)), row.kind, row.direction, row.amount, row.balance_after)
                for row in found
            ]
            assert shown == (expected[::-1] if descending else expected)


def test_now_is_no_earlier_than_what_is_recorded(database: Database, owner: Connection[Any]) -> None:
    ahead = "2999-01-01T00:00:00.000000Z"
    sides: Any = [("a", "debit", 5), ("b", "credit", 5)]
    project_in_batches(owner, [transferred(1, ahead, ahead, sides, {})], repeat(1))
    assert posted_at(owner, "main", "b").found.posted == (0, 0)
    owner.execute("UPDATE head SET recorded_at = %s", (ahead,))
    for clock in CLOCKS:
        assert posted_at(owner, "main", "b", clock=clock).found == (ahead, (0, 5))
        assert trial_balance(owner, "main", clock=clock).found == [("USD/2", "5", "5")]


def test_sums_beyond_64_bits(database: Database, owner: Connection[Any]) -> None:
    most = 2**53 - 1
    sides: Any = [("a", "debit", most), ("b", "credit", most)]
    time = "2026-03-01T10:00:30.000000Z"
    events = [transferred(n, time, time, sides, {}) for n in range(1, 1100)]
    project_in_batches(owner, events, repeat(300))
    for at in (time, "2026-03-01T10:01:00.000000Z"):
        assert trial_balance(owner, "main", at=at).found == [("USD/2", str(most * 1099), str(most * 1099))]


def test_the_tables_are_the_same_whatever_the_batches(
    database: Database, owner: Connection[Any], chance: random.Random
) -> None:
    events = generated(chance, 300)
    project_in_batches(owner, events, sizes(chance))
    owner.execute("SET TimeZone = 'Europe/Berlin'")  # the ledger knows no days of 23 hours
    for version, size in ((2, 300), (3, 1)):
        add_version(owner, PROJECTION, version, "rebuilding")
        create_indexes(owner, PROJECTION, version)
        project_in_batches(owner, events, repeat(size), version)
    checksum = load("projections.engine.comparison")["checksum"]
    owner.execute("SET TimeZone = 'UTC'")
    for table in PROJECTION.tables:
        found = {checksum.fill(table=f"{table}_v{version}").row(owner) for version in (1, 2, 3)}
        assert len(found) == 1
        assert found != {(0, "0")}


def test_a_span_that_ends_with_a_longer_one_is_not_kept(database: Database, owner: Connection[Any]) -> None:
    sides: Any = [("a", "debit", 5), ("b", "credit", 5)]
    midnight, hour, minute = (
        f"2026-03-{time}.000000Z" for time in ("02T00:00:00", "01T10:00:00", "01T10:01:00")
    )
    events = [
        transferred(n, time, time, sides, {}) for n, time in enumerate((hour, minute, midnight), start=1)
    ]
    project_in_batches(owner, events, repeat(3))
    rows = owner.execute(
        "SELECT span, to_char(until AT TIME ZONE 'UTC', 'DD HH24:MI'), debits FROM turnovers_v1 ORDER BY until, span"
    ).fetchall()
    assert rows == [
        ("hour", "01 10:00", 5),
        ("minute", "01 10:01", 5),
        ("hour", "01 11:00", 5),
        ("day", "02 00:00", 15),
    ]


def many(count: int, accounts: int) -> list[Recorded]:
    """Transfers among few accounts, one per second. Every fourth takes effect at midnight of some day."""
    begin, after = moment("2026-01-01T00:00:00.000000Z"), dict[str, tuple[int, int]]()
    events = []
    for number in range(count):
        recorded_at = instant(begin + timedelta(seconds=number))
        midnight = instant(begin + timedelta(days=number % 90))
        sides: Any = [
            (f"users:{number % accounts}", "debit", 5),
            (f"users:{(number * 7 + 1) % accounts}", "credit", 5),
        ]
        effective_at = midnight if number % 4 == 0 else recorded_at
        events.append(transferred(number + 1, recorded_at, effective_at, sides, after))
    return events


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def test_nothing_is_read_by_scanning_a_table(database: Database, owner: Connection[Any]) -> None:
    project_in_batches(owner, many(60_000, 50), repeat(5_000))
    owner.execute("VACUUM ANALYZE entries_v1")
    owner.execute("ANALYZE turnovers_v1")
    queries = PROJECTION.queries(1)
    values = {
        "ledger": "main",
        "account": "users:3",
        "time": "2026-01-01T12:00:30.000000Z",
        "at": "2026-01-01T12:00:30.000000Z",
        "position": 43_000,
        "entry": 1,
        "since": None,
        "until": None,
        "after_time": "2026-01-01T06:00:00.000000Z",
        "after_position": 22_000,
        "after_entry": 1,
        "limit": 101,
    }
    asked: list[str] = [queries["posted_recorded"], queries["posted_effective"]]
    for clock in CLOCKS:
        asked.append(queries["trial_balance"].replace("%(clock)s", f"'{clock}'"))
        for descending in (False, True):
            asked.append(directed(queries["statement"], descending=descending).fill(clock=clock))
    for query in asked:
        rows = (
            psycopg.ClientCursor(owner).execute(f"EXPLAIN (FORMAT JSON) {query}".encode(), values).fetchall()
        )
        (([plan],),) = rows
        scanned = {node["Relation Name"] for node in nodes(plan["Plan"]) if node["Node Type"] == "Seq Scan"}
        assert scanned <= {"head"}, (scanned, query)


def test_the_first_and_the_last_of_times(database: Database, owner: Connection[Any]) -> None:
    first, last = "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"
    sides: Any = [("a", "debit", 5), ("b", "credit", 5)]
    recorded_at, after = "2026-03-01T10:00:30.000000Z", dict[str, tuple[int, int]]()
    events = [
        transferred(n, recorded_at, time, sides, after) for n, time in enumerate((last, first), start=1)
    ]
    project_in_batches(owner, events, repeat(1))
    for at, posted in ((first, 5), ("0001-01-01T00:00:00.000001Z", 5), (recorded_at, 5), (last, 10)):
        assert posted_at(owner, "main", "b", at=at).found.posted == (0, posted)
        assert trial_balance(owner, "main", at=at).found == [("USD/2", str(posted), str(posted))]
    statement = list_entries(owner, "main", "b", clock="effective", limit=9).rows
    assert [(row.effective_at, row.balance_after) for row in statement] == [(first, 5), (last, 10)]
