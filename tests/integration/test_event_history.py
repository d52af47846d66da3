"""The history of events: every query gets the journal's own answer, read through indexes alone."""

import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from psycopg import Connection, Cursor
from psycopg.sql import SQL, Identifier

from domain.journal.database import Database
from domain.model.errors import JournalUnavailable
from domain.transparency.leaves import hash_of_item
from projections.audit.comparison import expected_rows, one_instant
from projections.engine.batches import Claim, advance, read_batch, take_over
from projections.read_models.event_history import JournalEvent, list_events
from projections.read_models.event_index import PROJECTION
from projections.read_models.event_keys import EventFilters
from projections.rebuilding.rebuilder import rebuild
from tests.author import ADDRESSES, BOOKS, Author, Clock
from tests.databases import Databases
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import append, await_head, delete_event, projecting

pytestmark = pytest.mark.integration

SEED = 3
CLOCK = Clock()


@pytest.fixture(scope="module")
def written(databases: Databases) -> Iterator[Database]:
    """A journal with every kind of event, in two ledgers, not indexed yet."""
    with databases.installed() as database:
        author = Author(database, SEED)
        author.write()
        CLOCK.seconds = author.clock.seconds
        yield database


@pytest.fixture(scope="module")
def items(written: Database) -> list[dict[str, Any]]:
    """The journal, read through the view for auditors who use psql."""
    with written.connect("test") as connection:
        rows = connection.execute(
            "SELECT originator_id, originator_version, topic, convert_from(state, 'UTF8'), notification_id"
            " FROM events ORDER BY notification_id"
        ).fetchall()
    return [naive_item(*row) for row in rows]


def naive_item(stream: str, version: int, topic: str, state: str, position: int) -> dict[str, Any]:
    stored = json.loads(state)
    payload = {**stored["data"], "metadata": {}, "reference": "", "description": ""}
    said = json.dumps({**stored, "data": payload})
    return {"position": position, "stream": stream, "version": version, "type": topic, "said": said, **stored}


def index(database: Database, upto: int, size: int = 300) -> None:
    """Bring the index to a position, in batches of this size."""
    with database.connect("test") as connection:
        query = "SELECT version, position FROM projection_versions WHERE name = 'event_index' AND live"
        version, position = connection.execute(query).fetchone() or (0, 0)
        claim = Claim(PROJECTION, version, uuid4(), "running")
        take_over(connection, claim)
        while position < upto:
            batch = read_batch(connection, PROJECTION, position, min(upto, position + size))
            assert advance(connection, claim, batch, 0.0, None)
            position = batch.upto


def head_of(database: Database) -> int:
    with database.connect("test") as connection:
        (head,) = connection.execute("SELECT position FROM head").fetchone() or (0,)
    return int(head)


def mentions_account(item: dict[str, Any], address: str) -> bool:
    entries = item["data"].get("entries", ())
    own = item["stream"].split("/")[1:] == ["accounts", address]
    return own or any(entry["account"] == address for entry in entries)


def mentions_transaction(item: dict[str, Any], id: str) -> bool:
    """Whether an event contains an id outside the caller's own text."""
    return f'"{id}"' in item["said"] or item["stream"].endswith(f"/transactions/{id}")


def naive(items: Sequence[dict[str, Any]], book: str, filters: EventFilters) -> list[int]:
    """The positions that a filter over the whole journal finds."""
    return [
        item["position"]
        for item in items
        if item["stream"].startswith(f"{book}/")
        and (not filters.account or mentions_account(item, filters.account))
        and (not filters.transaction_id or mentions_transaction(item, filters.transaction_id))
        and (not filters.correlation_id or item["correlation_id"] == filters.correlation_id)
        and (not filters.actor or item["actor"] == filters.actor)
        and (not filters.type or item["type"] == filters.type)
        and (not filters.recorded_from or item["recorded_at"] >= filters.recorded_from)
        and (not filters.recorded_to or item["recorded_at"] < filters.recorded_to)
    ]


def pages(
    database: Database, book: str, filters: EventFilters, size: int, *, descending: bool
) -> list[JournalEvent]:
    """All pages of a list, one after the other."""
    found: list[JournalEvent] = []
    low, high = 1, None
    with database.connect("test") as connection:
        while True:
            page = list_events(
                connection, book, filters, low=low, high=high, limit=size, descending=descending
            )
            assert page.position == page.head
            found += page.rows
            if len(page.rows) < size:
                return found
            last = page.rows[-1].position
            low, high = (1, last) if descending else (last + 1, None)


def positions(events: Sequence[JournalEvent]) -> list[int]:
    return [event.position for event in events]


def assert_found(
    database: Database, items: Sequence[dict[str, Any]], book: str, filters: EventFilters, size: int
) -> None:
    expected = naive(items, book, filters)
    assert positions(pages(database, book, filters, size, descending=False)) == expected
    assert positions(pages(database, book, filters, size, descending=True)) == expected[::-1]


# These run first in this module. The index grows from one to the next, and with it what is read from the index.
PARTS = [0.0, 0.3, 0.99, 1.0]


@pytest.mark.parametrize("part", PARTS)
def test_every_filter_finds_what_a_filter_of_the_whole_journal_finds(
    written: Database, items: list[dict[str, Any]], part: float
) -> None:
    index(written, int(part * len(items)))
    ids = [item["stream"].split("/")[-1] for item in items if "/transactions/" in item["stream"]]
    some = items[len(items) // 2]
    filters = [
        EventFilters(),
        *(EventFilters(account=address) for address in [*ADDRESSES, "nobody"]),
        *(EventFilters(transaction_id=id) for id in [*ids[::200], str(uuid4())]),
        *(EventFilters(correlation_id=f"conversation-{number}") for number in (0, 7, 99)),
        *(EventFilters(actor=actor) for actor in ("shop", "bank", "nobody")),
        *(EventFilters(type=topic) for topic in sorted({item["type"] for item in items})),
        EventFilters(recorded_from=some["recorded_at"]),
        EventFilters(recorded_to=some["recorded_at"]),
        EventFilters(recorded_from=some["recorded_at"], recorded_to=CLOCK.at(CLOCK.seconds - 1)),
        EventFilters(recorded_from=CLOCK.at(0), recorded_to=CLOCK.at(0)),
        EventFilters(recorded_to="0001-01-01T00:00:00.000000Z"),
        EventFilters(recorded_from="9999-12-31T23:59:59.999999Z"),
    ]
    assert {item["type"] for item in items} >= {
        "transaction.held",
        "transaction.rejected",
        "transaction.accepted",
    }
    for wanted in filters:
        for book in BOOKS if part == 0.99 else BOOKS[:1]:
            assert_found(written, items, book, wanted, 700)


@pytest.mark.parametrize("seed", range(30))
def test_filters_are_combined(written: Database, items: list[dict[str, Any]], seed: int) -> None:
    index(written, len(items) - 50)
    chance = Random(seed)
    about = chance.choice(items)
    entries = about["data"].get("entries") or [{"account": about["stream"].split("/")[-1]}]

    def perhaps(*choices: Any) -> Any:
        return chance.choice([None, *choices])

    filters = EventFilters(
        account=perhaps(entries[0]["account"], entries[-1]["account"]),
        transaction_id=perhaps(about["causation_id"], about["data"].get("hold_id")),
        correlation_id=perhaps(about["correlation_id"]),
        actor=perhaps(about["actor"], "bank"),
        type=perhaps(about["type"], "account.entries_posted"),
        recorded_from=perhaps(about["recorded_at"], CLOCK.at(20_000)),
        recorded_to=perhaps(CLOCK.at(CLOCK.seconds), CLOCK.at(40_000)),
    )
    assert_found(written, items, about["stream"].split("/")[0], filters, chance.randint(20, 300))


def test_batches_of_any_size_make_the_same_index(written: Database, owner_of: Connection[Any]) -> None:
    index(written, head_of(written))
    for size in (1, 7, 1000):
        again = rebuilt_in(written, size)
        assert again == content(written)


@pytest.fixture
def owner_of(written: Database) -> Iterator[Connection[Any]]:
    with written.connect_as_owner("test") as connection:
        yield connection


def content(database: Database) -> list[tuple[int, bytes]]:
    """The content of the live index."""
    with database.connect("test") as connection:
        query = "SELECT version FROM projection_versions WHERE name = 'event_index' AND live"
        (version,) = connection.execute(query).fetchone() or (0,)
        table = SQL("SELECT slot, marks FROM {} ORDER BY slot").format(Identifier(f"event_index_v{version}"))
        return [(slot, bytes(marks)) for slot, marks in connection.execute(table)]


EMPTY = SQL("CREATE TABLE event_index_v9 (slot bigint PRIMARY KEY, marks bytea NOT NULL)")


def rebuilt_in(database: Database, size: int) -> list[tuple[int, bytes]]:
    """The content of an index filled in batches of this size."""
    with database.connect("test") as connection:
        connection.execute(EMPTY)
        position, head = 0, head_of(database)
        while position < head:
            batch = read_batch(connection, PROJECTION, position, min(head, position + size))
            PROJECTION.project(connection, PROJECTION.queries(9), batch.events)
            position = batch.upto
        rows = connection.execute("SELECT slot, marks FROM event_index_v9 ORDER BY slot").fetchall()
        connection.execute("DROP TABLE event_index_v9")
        return [(slot, bytes(marks)) for slot, marks in rows]


def test_a_rebuild_is_equal(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        outcomes(ledger.execute(*(transfer("a", "b", 1) for _ in range(200))).result())
    with projecting(database):
        await_head(owner, "event_index")
        assert rebuild(database, "event_index").equal


def test_far_behind_it_is_complete_up_to_a_position_before_the_head(
    database: Database, owner: Connection[Any]
) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        outcomes(ledger.execute(*(transfer("a", "b", 1) for _ in range(60))).result())
    index(database, 100)
    rows = owner.execute(
        "SELECT notification_id FROM events WHERE topic = 'account.entries_posted' ORDER BY 1"
    )
    expected = [position for (position,) in rows.fetchall() if position <= 130]
    wanted = EventFilters(type="account.entries_posted")
    with database.connect("test") as connection:
        for descending in (False, True):
            page = list_events(
                connection, "main", wanted, limit=9999, descending=descending, max_tail_events=30
            )
            assert positions(page.rows) == (expected[::-1] if descending else expected)
            assert (page.position, page.head) == (130, head_of(database))


STRANGE = [
    b"no JSON at all \xff",
    b"[1, 2]",
    b'"text"',
    b'{"class_version":9,"recorded_at":"2026-11-23T20:00:00.000000Z","actor":5,"data":["x"]}',
    b'{"class_version":1,"data":{"a":1,"data":{}}}',
    b'{ "data" : { "entries" : [ {"account" : "users:a"}, 7 ] , "related" : "%s" } }',
    b'{"class_version":1,"actor":"zo\\u00eb","data":{"account":"users:\\u0061","x":"\\u0031%r"}}',
    b'{"class_version":1,"actor":"x","data":{"entries":[{"account":"users:a"}],"id":"%s"}}',
]


def test_events_of_other_programs_are_shown_and_found(database: Database, owner: Connection[Any]) -> None:
    id = "11111111-1111-4111-8111-111111111111"
    written = []
    for number, state in enumerate(STRANGE):
        completed = state.replace(b"%r", id[1:].encode()).replace(b"%s", id.encode())
        written.append(append(owner, f"strange/things/{number}", 1, "thing.happened", completed))
    append(owner, "strange/accounts/users:a", 1, "thing.happened", b"")
    append(owner, f"strange/transactions/{id}", 1, "thing.changed", b"null")

    def found(**filters: str) -> list[int]:
        with database.connect("test") as connection:
            return positions(list_events(connection, "strange", EventFilters(**filters), limit=99).rows)

    for upto in (0, 4, 10):
        index(database, upto, 3)
        assert found() == [*written, 9, 10]
        assert found(account="users:a") == [6, 7, 8, 9]
        assert found(transaction_id=id) == [6, 7, 8, 10]
        assert found(type="thing.changed") == [10]
        assert found(actor="zoë") == [7]
        assert found(actor="5") == []
        with pytest.raises(JournalUnavailable):
            found(recorded_from="2026-11-23T20:00:00.000000Z")


def test_what_was_deleted_is_not_made_up(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        outcomes(ledger.execute(transfer("a", "b", 1)).result())
    index(database, head_of(database))
    delete_event(owner, 4)
    with database.connect("test") as connection:
        assert 4 not in positions(list_events(connection, "main", limit=99).rows)


def test_events_can_be_hashed_from_what_is_shown(written: Database, items: list[dict[str, Any]]) -> None:
    with written.connect("test") as connection:
        found = list_events(connection, "main", limit=9999).rows
    by_position = {item["position"]: item for item in items}
    for event in found:
        item = by_position[event.position]
        shown = {**item, "schema_version": item["class_version"], "payload": item["data"]}
        assert hash_of_item(shown) == event.leaf_hash


# A journal large enough for plans to matter: transfers among many accounts, and little else.
TRANSFERS = 30_000
GENERATE = """
INSERT INTO events (originator_id, originator_version, topic, state, notification_id)
SELECT ledger || CASE part WHEN 3 THEN '/transactions/' || id ELSE '/accounts/' || account END,
    number + 1, CASE WHEN number %% 5000 = 7 THEN 'account.frozen' WHEN part = 3 THEN 'transaction.posted'
        ELSE 'account.entries_posted' END,
    convert_to(concat(
        '{"class_version":1,"recorded_at":"',
        to_char(timestamptz '2026-01-01Z' + number * interval '1 s', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        '","actor":"', CASE WHEN number %% 3000 = 11 THEN 'clerk' ELSE 'shop' END,
        '","correlation_id":"conversation-', number / 4, '","causation_id":"', id,
        '","idempotency_key":null,"traceparent":null,"data":{"entries":[{"account":"bank"},{"account":"users:',
        number %% 6000, '"}]}}'
    ), 'UTF8'),
    3 * number + part
FROM (
    SELECT number, part, md5(number::text)::uuid::text AS id,
        CASE WHEN number %% 1000 = 3 THEN 'small' ELSE 'main' END AS ledger,
        CASE part WHEN 1 THEN 'bank' ELSE 'users:' || number %% 6000 END AS account
    FROM generate_series(0, %(count)s::bigint - 1) AS number CROSS JOIN generate_series(1, 3) AS part
) AS event
"""


@pytest.fixture(scope="module")
def large(databases: Databases) -> Iterator[Database]:
    """A large journal, indexed except for its last events."""
    with databases.installed() as database, database.connect_as_owner("test") as connection:
        connection.execute(GENERATE.encode(), {"count": TRANSFERS})
        connection.execute("UPDATE head SET position = %s", (3 * TRANSFERS,))
        connection.execute("VACUUM ANALYZE events")
        index(database, 3 * TRANSFERS - 300, 5000)
        yield database


# Where strips, blocks and stretches begin and end.
EDGES = [1, 128, 129, 2_047, 2_048, 2_049, 6_144, 65_535, 65_536, 67_700]


def test_the_index_is_what_the_audit_expects_wherever_it_ends(large: Database) -> None:
    chance = Random(SEED)
    with large.connect("test") as connection, large.connect("test") as auditing:
        connection.execute(EMPTY)
        position = 0
        for edge in EDGES:
            while position < edge:
                upto = min(edge, position + chance.choice((1, 90, 500, 2_048, 5_000)))
                rows = read_batch(connection, PROJECTION, position, upto).events
                PROJECTION.project(connection, PROJECTION.queries(9), rows)
                position = upto
            found = connection.execute("SELECT slot, marks FROM event_index_v9 ORDER BY slot").fetchall()
            with one_instant(auditing):
                expected = [tuple(row.values()) for row in expected_rows(auditing, "event_index", edge)]
            assert found == expected
        connection.execute("DROP TABLE event_index_v9")


class Explained(Cursor[Any]):
    """A cursor that explains each query of events and index, with its parameters, before running it."""

    plans: list[dict[str, Any]]

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        text = query.decode() if isinstance(query, bytes) else query
        if isinstance(text, str) and ("event_index_v" in text or "FROM events" in text):
            super().execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}".encode(), params, **options)
            self.plans.append(self.fetchall()[0][0][0]["Plan"])
        return super().execute(query, params, **options)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def effort(plan: dict[str, Any]) -> int:
    """How many rows the scans of a plan have read, including those a filter then removed."""
    return sum(
        int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in nodes(plan)
        if "Relation Name" in node
    )


PAGE = 100
AT = "2026-01-01T04:00:00.000000Z"
# The book, the filters, the least number of matching events, and the rows a page may read. Two are to find the version,
# up to 300 are events that are not indexed yet, and for each key there is one for each of the 25 segments of the index.
LARGE: list[Any] = [
    pytest.param("main", EventFilters(), 3 * TRANSFERS - 90, 302, id="none"),
    pytest.param("small", EventFilters(), 90, 420, id="of a small ledger"),
    pytest.param("main", EventFilters(account="bank"), 2 * TRANSFERS, 302, id="account of all"),
    pytest.param("main", EventFilters(account="users:77"), 15, 345, id="account of few"),
    pytest.param("main", EventFilters(account="nobody"), 0, 327, id="account of none"),
    pytest.param("main", EventFilters(correlation_id="conversation-500"), 9, 336, id="correlation id"),
    pytest.param("main", EventFilters(type="transaction.posted"), TRANSFERS - 40, 302, id="type of many"),
    pytest.param("main", EventFilters(type="account.frozen"), 18, 345, id="type of few"),
    pytest.param("main", EventFilters(actor="shop"), 2 * TRANSFERS, 302, id="actor of all"),
    pytest.param("main", EventFilters(actor="clerk"), 30, 360, id="actor of few"),
    pytest.param("main", EventFilters(actor="clerk", account="bank"), 20, 385, id="few of many"),
    pytest.param("main", EventFilters(account="bank", type="account.frozen"), 6, 375, id="many of few"),
    pytest.param("main", EventFilters(recorded_from=AT), PAGE, 320, id="recorded from"),
    pytest.param("main", EventFilters(recorded_to=AT), PAGE, 325, id="recorded to"),
    pytest.param(
        "main",
        EventFilters(recorded_from=AT, recorded_to="2026-01-01T04:00:09.000000Z"),
        27,
        70,
        id="recorded",
    ),
]


@pytest.mark.parametrize("descending", [False, True], ids=["asc", "desc"])
@pytest.mark.parametrize(("book", "filters", "count", "most_rows"), LARGE)
def test_every_filter_is_read_by_an_index(
    large: Database, book: str, filters: EventFilters, count: int, most_rows: int, descending: bool
) -> None:
    for middle in (None, 3 * TRANSFERS // 2):
        Explained.plans = []
        with large.connect("test") as connection:
            connection.cursor_factory = Explained
            bounds: dict[str, Any] = (
                {} if middle is None else {"high": middle} if descending else {"low": middle}
            )
            found = list_events(connection, book, filters, limit=PAGE, descending=descending, **bounds).rows
        if middle is None:
            assert len(found) >= min(PAGE, count)
        assert Explained.plans
        for plan in Explained.plans:
            for node in nodes(plan):
                # The head is one row.
                assert not (
                    node["Node Type"] == "Seq Scan" and node.get("Relation Name", "head") != "head"
                ), plan
        assert sum(map(effort, Explained.plans)) <= most_rows, Explained.plans
