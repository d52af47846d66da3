"""The list of transactions: equal to a fold of the journal however it was advanced, and read through indexes alone."""

import random
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import Connection, Cursor
from psycopg.sql import SQL, Identifier

from domain.journal.database import Database
from domain.model.entries import Entry
from domain.model.transactions import Transaction
from projections.engine.batches import Claim, advance, read_batch, take_over
from projections.engine.projection import Inconsistent
from projections.read_models.transaction_list import TransactionFilters, list_transactions
from projections.read_models.transactions import PROJECTION
from projections.rebuilding.rebuilder import rebuild
from tests.author import ADDRESSES, BOOKS, Author, Clock
from tests.databases import Databases
from tests.ledgers import folded, history

pytestmark = pytest.mark.integration


def expected(database: Database, book: str = "main") -> list[Transaction]:
    """The transactions of a ledger in order, folded from the journal without the projection."""
    found = [
        state._replace(
            entries=tuple(
                Entry(account=e.account, direction=e.direction, amount=e.amount) for e in state.entries
            ),
            fingerprint="",
            accepted_at=state.recorded_at,
        )
        for state in folded(history(database)).values()
        if isinstance(state, Transaction) and state.ledger == book
    ]
    return sorted(found, key=lambda transaction: (transaction.recorded_at, transaction.made_position))


def project_all(database: Database, size: Callable[[], int], most_batches: int = 10**9) -> None:
    """Advance the projection to the head in batches of this many events, for at most this many batches."""
    with database.connect("test projector") as connection:
        claim = Claim(PROJECTION, 1, uuid4(), "running")
        take_over(connection, claim)
        ((head,),) = connection.execute("SELECT position FROM head").fetchall()
        found = connection.execute("SELECT position FROM projection_versions WHERE name = 'transactions'")
        ((position,),) = found.fetchall()
        while position < head and most_batches:
            most_batches -= 1
            batch = read_batch(connection, PROJECTION, position, min(head, position + size()))
            assert advance(connection, claim, batch, 0.0, None)
            position = batch.upto


def project_rest(database: Database, after: int) -> None:
    """Give the projection all events after a position at once, unlike a projector: nothing is set aside."""
    with database.connect("test projector") as connection, connection.transaction():
        ((head,),) = connection.execute("SELECT position FROM head").fetchall()
        batch = read_batch(connection, PROJECTION, after, head)
        PROJECTION.project(connection, PROJECTION.queries(1), batch.events)


def everything(connection: Connection[Any], book: str = "main") -> list[Transaction]:
    return list_transactions(connection, book, limit=100_000).rows


@pytest.mark.parametrize("largest", [1, 3, 40, 400, 100_000])
def test_it_equals_a_fold_of_the_journal_in_batches_of_any_size(
    database: Database, owner: Connection[Any], largest: int
) -> None:
    Author(database, seed=largest).write()
    sizes = random.Random(largest)
    project_all(database, lambda: sizes.randint(1, largest))
    for book in BOOKS:
        assert everything(owner, book) == expected(database, book)
    seen = {
        (transaction.kind, transaction.status) for book in BOOKS for transaction in everything(owner, book)
    }
    assert {status for _, status in seen} == {"posted", "pending", "settled", "voided", "expired", "rejected"}
    assert {kind for kind, status in seen if status == "rejected"} >= {"settlement", "void", "reversal"}
    assert {kind for kind, _ in seen} == {"posting", "hold", "settlement", "void", "reversal"}
    outcome = rebuild(database, PROJECTION.name)
    assert outcome.equal, outcome
    assert [compared.live_rows > 0 for compared in outcome.comparisons] == [True, True, True]
    assert everything(owner) == expected(database)


def test_a_rebuild_in_small_batches_is_equal_too(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    Author(database, seed=5).write()
    project_all(database, lambda: 100_000)
    monkeypatch.setattr("projections.rebuilding.part.BATCH_EVENTS", 7)
    assert rebuild(database, PROJECTION.name).equal


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE transactions_v1 SET version = version + 1 WHERE kind = 'hold'",
        "DELETE FROM transactions_v1 WHERE kind = 'hold'",
    ],
)
def test_rows_that_contradict_the_journal_are_not_changed(
    database: Database, owner: Connection[Any], tampering: str
) -> None:
    Author(database, seed=6).write()
    project_all(database, lambda: 400, most_batches=1)
    assert owner.execute(tampering).rowcount > 1
    with pytest.raises(Inconsistent, match="is not at the version before event"):
        project_rest(database, 400)


def test_nothing_is_made_twice(database: Database) -> None:
    Author(database, seed=6).write(rounds=2)
    project_all(database, lambda: 1000)
    with pytest.raises(psycopg.errors.UniqueViolation):
        project_rest(database, 0)


def matches(transaction: Transaction, filters: TransactionFilters) -> bool:
    """The meaning of the filters, in plain Python."""
    accounts = [entry.account for entry in transaction.entries]
    equals = {
        name: getattr(filters, name)
        for name in ("reference", "status", "kind", "correlation_id")
        if getattr(filters, name)
    }
    return (
        (not filters.account or filters.account in accounts)
        and (not filters.prefix or any(account.startswith(filters.prefix) for account in accounts))
        and all(getattr(transaction, name) == value for name, value in equals.items())
        and all(transaction.metadata.get(key) == value for key, value in (filters.metadata or {}).items())
        and (filters.recorded_from or "") <= transaction.recorded_at < (filters.recorded_to or "~")
        and (filters.effective_from or "") <= transaction.effective_at < (filters.effective_to or "~")
    )


def random_filters(chance: random.Random, clock: Clock) -> TransactionFilters:
    """One to four filters."""
    times = [clock.at(chance.randrange(90_000)) for _ in range(4)]
    choices: dict[str, Any] = {
        "account": chance.choice([*ADDRESSES, "nobody"]),
        "prefix": chance.choice(("users", "users:", "users:1", "users_", "b", "x", "users:1:wallet:")),
        "reference": chance.choice(("order-1", "order-2", "tab\t\\N\nline", "order-3")),
        "status": chance.choice(("posted", "pending", "settled", "voided", "expired", "rejected")),
        "kind": chance.choice(("posting", "hold", "settlement", "void", "reversal")),
        "correlation_id": f"conversation-{chance.randrange(41)}",
        "metadata": {
            key: chance.choice(("", "a", "é")) for key in chance.sample(("one", "two"), chance.randint(1, 2))
        },
        "recorded_from": times[0],
        "recorded_to": times[1],
        "effective_from": times[2],
        "effective_to": times[3],
    }
    return TransactionFilters(
        **{name: choices[name] for name in chance.sample(list(choices), chance.randint(1, 4))}
    )


def pages(
    connection: Connection[Any], filters: TransactionFilters, size: int, *, descending: bool
) -> Iterator[list[Transaction]]:
    after: int | None = None
    while page := list_transactions(
        connection, "main", filters, after=after, limit=size, descending=descending
    ).rows:
        yield page
        after = page[-1].made_position


@pytest.mark.parametrize("gathered", [20_000, 30, 0])
def test_filters_find_what_they_mean_page_by_page_in_both_orders(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch, gathered: int
) -> None:
    monkeypatch.setattr("projections.read_models.transaction_list.MAX_GATHERED", gathered)
    monkeypatch.setattr("projections.read_models.transaction_list.CHUNK_POSITIONS", 17)
    monkeypatch.setattr("projections.read_models.transaction_list.MAX_JOINED_PAIRS", 2 if gathered else 1)
    author = Author(database, seed=9)
    author.write(rounds=20)
    project_all(database, lambda: 1000)
    whole, chance, found = expected(database), random.Random(gathered), 0
    times = {time for transaction in whole for time in (transaction.recorded_at, transaction.effective_at)}
    named: list[dict[str, Any]] = [
        {name: time} for time in sorted(times)[::40] for name in TransactionFilters._fields[-4:]
    ]
    bounds = [TransactionFilters(**bound) for bound in named]
    for filters in [
        TransactionFilters(),
        *bounds,
        *(random_filters(chance, author.clock) for _ in range(200)),
    ]:
        descending, size = chance.random() < 0.5, chance.choice((1, 7, 1000))
        wanted = [transaction for transaction in whole if matches(transaction, filters)]
        if size == 1:
            wanted = wanted[: 10 if not descending else None]
        some = [row for page in pages(owner, filters, size, descending=descending) for row in page]
        if size == 1 and not descending:
            some = some[:10]
        assert some == (wanted[::-1] if descending else wanted), filters
        found += bool(some)
    assert found > 100


def test_a_ledger_without_any(database: Database, owner: Connection[Any]) -> None:
    for filters in (
        TransactionFilters(),
        TransactionFilters(recorded_from="2026-01-01T00:00:00.000000Z"),
        TransactionFilters(prefix="a"),
    ):
        assert list_transactions(owner, "nowhere", filters, limit=5).rows == []


GENERATED = 120_000
COLUMNS = (
    "ledger, made_position, id, kind, status, entries, reference, description, metadata, effective_at, recorded_at,"
    " expires_at, idempotency_key, correlation_id, actor, made_version, reversed_amount, version, position"
)
GENERATE = """
INSERT INTO transactions_v1 (:columns)
SELECT 'main', 3 * n, gen_random_uuid(), kind, status,
    format('[["bank","debit",5],["users:%%s:wallet","credit",5]]', n %% 5000),
    CASE WHEN n %% 2 = 0 THEN 'order-' || n ELSE '' END, '',
    format('{"channel":"%%s","customer":"%%s"}', channel, n %% 1000),
    CASE WHEN n %% 20 = 0 THEN recorded_at - interval '40 days' ELSE recorded_at END, recorded_at, NULL, 'key-' || n,
    'conversation-' || n / 10, 'shop', 1, 0, 1, 3 * n
FROM generate_series(1, %(count)s) AS n
CROSS JOIN LATERAL (SELECT
    '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 second' AS recorded_at,
    CASE WHEN n %% 50 = 0 THEN 'hold' WHEN n %% 1111 = 0 THEN 'reversal' ELSE 'posting' END AS kind,
    CASE WHEN n %% 5000 = 0 THEN 'pending' WHEN n %% 50 = 0 THEN 'settled' WHEN n %% 777 = 0 THEN 'rejected'
        ELSE 'posted' END AS status,
    CASE WHEN n %% 3 = 0 THEN 'web' ELSE 'app' END AS channel
) AS chosen;
INSERT INTO transaction_accounts_v1 SELECT 'main', account, 3 * n FROM generate_series(1, %(count)s) AS n
CROSS JOIN LATERAL (VALUES ('bank'), (format('users:%%s:wallet', n %% 5000))) AS a(account);
INSERT INTO transaction_metadata_v1 SELECT 'main', key, value, 3 * n FROM generate_series(1, %(count)s) AS n
CROSS JOIN LATERAL (VALUES ('customer', (n %% 1000)::text), ('channel', CASE WHEN n %% 3 = 0 THEN 'web' ELSE 'app' END))
AS m(key, value)
"""


@pytest.fixture(scope="module")
def large(databases: Databases) -> Iterator[Database]:
    """A projection with more rows than anybody would read one by one, with statistics."""
    with databases.installed() as database, database.connect_as_owner("test") as connection:
        for statement in GENERATE.split(";"):
            connection.execute(statement.replace(":columns", COLUMNS).encode(), {"count": GENERATED})
        for table in PROJECTION.table_names(1):
            connection.execute(SQL("VACUUM ANALYZE {}").format(Identifier(table)))
        yield database


class Explained(Cursor[Any]):
    """A cursor that explains each query of the projection's tables, with its parameters, before running it."""

    plans: list[dict[str, Any]]

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        text = query.decode() if isinstance(query, bytes) else query
        if isinstance(text, str) and "_v1" in text:
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
RECORDED = "2026-01-01T20:00:00.000000Z"
DATED = "2025-11-23T04:00:00.000000Z"
# The filters, how many transactions match, and how many rows a page of 100 may read.
SINGLE: list[Any] = [
    pytest.param(TransactionFilters(), GENERATED, 110, id="none"),
    pytest.param(TransactionFilters(account="bank"), GENERATED, 220, id="account of all"),
    pytest.param(TransactionFilters(account="users:77:wallet"), 24, 60, id="account of few"),
    pytest.param(TransactionFilters(prefix="users:77:"), 24, 80, id="prefix of few"),
    pytest.param(TransactionFilters(prefix="users:77"), 264, 800, id="prefix of some"),
    pytest.param(TransactionFilters(prefix="users:"), GENERATED, 21_000, id="prefix of all"),
    pytest.param(TransactionFilters(prefix="nobody"), 0, 10, id="prefix of none"),
    pytest.param(TransactionFilters(reference="order-5000"), 1, 2, id="reference"),
    pytest.param(TransactionFilters(status="posted"), 117_000, 110, id="status of most"),
    pytest.param(TransactionFilters(status="pending"), 24, 30, id="status of few"),
    pytest.param(TransactionFilters(status="rejected"), 151, 110, id="status of some"),
    pytest.param(TransactionFilters(status="expired"), 0, 2, id="status of none"),
    pytest.param(TransactionFilters(kind="posting"), 117_000, 110, id="kind of most"),
    pytest.param(TransactionFilters(kind="reversal"), 106, 110, id="kind of few"),
    pytest.param(TransactionFilters(correlation_id="conversation-77"), 10, 20, id="correlation id"),
    pytest.param(TransactionFilters(metadata={"channel": "web"}), 40_000, 420, id="metadata of many"),
    pytest.param(TransactionFilters(metadata={"customer": "77"}), 120, 220, id="metadata of some"),
    pytest.param(
        TransactionFilters(metadata={"channel": "web", "customer": "77"}), 40, 400, id="two of metadata"
    ),
    pytest.param(TransactionFilters(recorded_from=RECORDED), 48_001, 140, id="recorded from"),
    pytest.param(TransactionFilters(recorded_to=RECORDED), 71_999, 140, id="recorded to"),
    pytest.param(
        TransactionFilters(recorded_from=RECORDED, recorded_to="2026-01-01T20:01:00.000000Z"),
        60,
        100,
        id="recorded",
    ),
    pytest.param(TransactionFilters(effective_from=RECORDED), 45_600, 300, id="effective from"),
    pytest.param(TransactionFilters(effective_to=RECORDED), 74_400, 6_300, id="effective to"),
    pytest.param(
        TransactionFilters(effective_from=DATED, effective_to="2025-11-23T04:01:00.000000Z"),
        3,
        60,
        id="effective",
    ),
]


def explained(
    database: Database, filters: TransactionFilters, after: int | None, *, descending: bool
) -> tuple[list[Transaction], int]:
    """A page, and how many rows were read for it: through an index, sorting no more than some pages' worth."""
    Explained.plans = []
    with database.connect("test") as connection:
        connection.cursor_factory = Explained
        rows = list_transactions(
            connection, "main", filters, after=after, limit=PAGE, descending=descending
        ).rows
    assert Explained.plans
    for plan in Explained.plans:
        for node in nodes(plan):
            assert not (node["Node Type"] == "Seq Scan" and "Relation Name" in node), plan
            if "Sort" in node["Node Type"]:
                assert sum(below["Actual Rows"] for below in node["Plans"]) <= 10 * PAGE, plan
    assert all(matches(row, filters) for row in rows)
    return rows, sum(map(effort, Explained.plans))


@pytest.mark.parametrize("descending", [False, True], ids=["asc", "desc"])
@pytest.mark.parametrize(("filters", "count", "most_rows"), SINGLE)
def test_every_filter_is_read_by_an_index_and_no_more_sorted_than_a_page(
    large: Database, filters: TransactionFilters, count: int, most_rows: int, descending: bool
) -> None:
    rows, looked_at = explained(large, filters, None, descending=descending)
    assert len(rows) == min(PAGE, count)
    assert looked_at <= most_rows, Explained.plans
    middle = 3 * GENERATED // 2
    rows, looked_at = explained(large, filters, middle, descending=descending)
    assert all((row.made_position < middle) == descending for row in rows)
    assert looked_at <= most_rows, Explained.plans


@pytest.mark.parametrize("descending", [False, True], ids=["asc", "desc"])
@pytest.mark.parametrize(
    "filters",
    [
        TransactionFilters(effective_to=RECORDED),
        TransactionFilters(prefix="users:"),
        TransactionFilters(prefix="users:4"),
    ],
)
def test_what_is_too_much_to_gather_is_met_in_the_order_of_the_list(
    large: Database, monkeypatch: pytest.MonkeyPatch, filters: TransactionFilters, descending: bool
) -> None:
    monkeypatch.setattr("projections.read_models.transaction_list.MAX_GATHERED", 1000)
    rows, looked_at = explained(large, filters, None, descending=descending)
    assert len(rows) == PAGE
    # A thousand to see that it is too much, then some pages, or up to the next thousand accounts of the pattern.
    assert looked_at <= 1001 + 5000, Explained.plans
