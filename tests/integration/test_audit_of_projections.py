"""The audit folds the journal itself: the result equals the projections and differs after any tampering."""

from typing import Any

import pytest
from psycopg import Connection

from api.security.keys import Wanted, add_key, revoke_key, rotate_key
from domain.journal.database import Database
from domain.journal.migrations import migrate
from domain.model.events import Context
from domain.model.registry import EVENT_TYPES
from domain.placement import mover
from domain.placement.mover import Mover
from projections.audit import (
    TABLES,
    Sample,
    Unfoldable,
    compare,
    differences,
    expected_rows,
    one_instant,
    versions,
    violations,
)
from projections.audit.comparison import MAX_SHOWN, SHAPES
from projections.audit.stored import CLASS_VERSIONS
from projections.registry import PROJECTIONS
from tests import witnessed
from tests.author import Author
from tests.ledgers import CONTEXT, open_accounts, running, transfer
from tests.moving import Killed, dying
from tests.outboxes import register
from tests.placements import beside
from tests.projecting import append, await_head, delete_event, projecting
from tests.tampering import disarm

pytestmark = pytest.mark.integration


def write_and_project(database: Database) -> None:
    """Write a journal with every kind of event and bring its projections to the head."""
    write(database)
    with projecting(database), database.connect("test") as connection:
        await_head(connection)


def write(database: Database) -> None:
    with database.connect("test webhooks") as connection:
        for ledgers, types in ((["*"], ["*"]), (["main"], ["*"]), (["*"], ["transaction.posted"])):
            register(connection, "https://example.com/", ledgers, types)
    author = Author(database, seed=4)
    author.write(rounds=8)
    author.write_of_accounts()
    author.write_of_payouts()
    by = Context("root at a terminal", "conversation-1")
    with database.connect("test keys") as connection:
        made, _ = add_key(connection, Wanted("shop", ["client"], ["main"]), by)
        rotate_key(connection, made.id, 0, by)
        revoke_key(connection, made.id, by)
        witnessed.grow(connection)
        witnessed.dispute(connection)
    write_of_moves(database)


def write_of_moves(database: Database) -> None:
    """Move a ledger away and back, after a move that was cancelled."""
    east, west = beside(database, "east", "west")
    migrate(west.database)
    with running(database) as ledger, pytest.MonkeyPatch.context() as patch:
        patch.setattr(mover, "KNOWN_SECONDS", 0.0)
        open_accounts(ledger, "a", "b", book="moving")
        ledger.perform(transfer("a", "b", 1, book="moving"))
        with pytest.raises(Killed):
            Mover("moving", east, west, CONTEXT, dying("leave")).run()
        Mover("moving", east, west, CONTEXT).cancel()
        Mover("moving", east, west, CONTEXT).run()
        Mover("moving", west, east, CONTEXT).run()
        ledger.perform(transfer("a", "b", 1, book="moving"))


def test_every_event_and_every_table_is_known_to_the_audit() -> None:
    assert {topic: event.class_version for topic, event in EVENT_TYPES.items()} == CLASS_VERSIONS
    tables = {(table.projection, name) for name, table in TABLES.items()}
    assert tables == {(name, table) for name in PROJECTIONS for table in PROJECTIONS[name].tables}
    assert {name: projection.shape for name, projection in PROJECTIONS.items()} == SHAPES


@pytest.mark.prepared(by=write_and_project)
def test_projections_hold_what_the_journal_says(database: Database, owner: Connection[Any]) -> None:
    assert differences(owner) == []
    topics = {topic for (topic,) in owner.execute("SELECT DISTINCT topic FROM events").fetchall()}
    assert topics == EVENT_TYPES.keys()
    with one_instant(owner):
        compared = [comparison for version in versions(owner) for comparison in compare(owner, version)]
    assert {comparison.table for comparison in compared} == {f"{table}_v1" for table in TABLES}
    for comparison in compared:
        assert comparison.equal and comparison.rows > 2
        found = owner.execute(f"SELECT count(*) FROM {comparison.table}".encode()).fetchone()
        assert found == (comparison.rows,)


TAMPERINGS = {
    "ledgers": "UPDATE ledgers_v1 SET assets = '{USD/3}' WHERE name = 'main'",
    "ledgers gone": "DELETE FROM ledgers_v1 WHERE name = 'other'",
    "ledgers added": "INSERT INTO ledgers_v1 SELECT 'maim', metadata, assets, opened_at, 1, 1 FROM ledgers_v1"
    " LIMIT 1",
    "balances": "UPDATE balances_v1 SET posted_debits = posted_debits + 1 WHERE address = 'euros'",
    "balances pending": "UPDATE balances_v1 SET pending_credits = 1 WHERE address = 'euros'",
    "balances stale": "UPDATE balances_v1 SET version = version - 1 WHERE address = 'euros'",
    "balances status": "UPDATE balances_v1 SET status = 'open' WHERE address = 'yen'",
    "balances limit": "UPDATE balances_v1 SET max_balance = NULL WHERE address = 'euros'",
    "balances metadata": "UPDATE balances_v1 SET metadata = '{}' WHERE address = 'cash'",
    "balances opening": "UPDATE balances_v1 SET opening = opening - 'asset' WHERE address = 'euros'",
    "balances gone": "DELETE FROM balances_v1 WHERE address = 'euros'",
    "seals": "UPDATE seals_v1 SET hashes = set_byte(hashes, 40, 255 - get_byte(hashes, 40))"
    " WHERE level = 0 AND number = 1",
    "seals gone": "DELETE FROM seals_v1 WHERE level = 1",
    "event_index": "UPDATE event_index_v1 SET marks = marks || '\\x0000000000000001'"
    " WHERE slot = (SELECT min(slot) FROM event_index_v1)",
    "event_index gone": "DELETE FROM event_index_v1 WHERE slot = (SELECT max(slot) FROM event_index_v1)",
    "entries": "UPDATE entries_v1 SET change = change + 1"
    " WHERE (position, entry) = (SELECT min(position), 1 FROM entries_v1)",
    "entries gone": "DELETE FROM entries_v1"
    " WHERE (position, entry) = (SELECT min(position), 2 FROM entries_v1)",
    "entries twice": "INSERT INTO entries_v1 SELECT ledger, account, recorded_at + interval '1 day', position,"
    " entry, transaction_id, kind, asset, direction, change, balance_after, debits_after, effective_at, reference"
    " FROM entries_v1 WHERE (position, entry) = (SELECT min(position), 1 FROM entries_v1)",
    "entries of another": "UPDATE entries_v1 SET account = 'users:9'"
    " WHERE (position, entry) = (SELECT min(position), 1 FROM entries_v1)",
    "entries moved in time": "UPDATE entries_v1 SET effective_at = effective_at + interval '1 microsecond'"
    " WHERE (position, entry) = (SELECT min(position), 1 FROM entries_v1)",
    "turnovers": "UPDATE turnovers_v1 SET credits = credits + 1"
    " WHERE ctid = (SELECT ctid FROM turnovers_v1 WHERE account = '' LIMIT 1)",
    "turnovers gone": "DELETE FROM turnovers_v1"
    " WHERE ctid = (SELECT ctid FROM turnovers_v1 WHERE account <> '' LIMIT 1)",
    "turnovers of no time": "UPDATE turnovers_v1 SET until = until + interval '1 century'"
    " WHERE span = 'day' AND account = '' AND ledger = 'main-2' AND asset = 'EUR/2'",
    "transactions": "UPDATE transactions_v1 SET status = 'posted' WHERE made_position ="
    " (SELECT min(made_position) FROM transactions_v1 WHERE status = 'voided')",
    "transactions entries": "UPDATE transactions_v1 SET entries = replace(entries, '\"debit\"', '\"credit\"')"
    " WHERE made_position = (SELECT min(made_position) FROM transactions_v1)",
    "transactions metadata": "UPDATE transactions_v1 SET metadata = '{' WHERE made_position ="
    " (SELECT min(made_position) FROM transactions_v1)",
    "transactions reversed": "UPDATE transactions_v1 SET reversed_by = NULL WHERE made_position ="
    " (SELECT min(made_position) FROM transactions_v1 WHERE reversed_by IS NOT NULL)",
    "transactions gone": "DELETE FROM transactions_v1 WHERE made_position ="
    " (SELECT max(made_position) FROM transactions_v1)",
    "transaction_accounts": "DELETE FROM transaction_accounts_v1 WHERE (made_position, account) = ("
    " SELECT made_position, account FROM transaction_accounts_v1 LIMIT 1)",
    "transaction_accounts added": "INSERT INTO transaction_accounts_v1 SELECT ledger, 'nobody', made_position"
    " FROM transaction_accounts_v1 LIMIT 1",
    "transaction_metadata": "UPDATE transaction_metadata_v1 SET value = 'b' WHERE (made_position, key) = ("
    " SELECT made_position, key FROM transaction_metadata_v1 LIMIT 1)",
    "outbox": "UPDATE outbox_v1 SET events = events + 1 WHERE events = (SELECT max(events) FROM outbox_v1)",
    "outbox gone": "DELETE FROM outbox_v1 WHERE events = (SELECT min(events) FROM outbox_v1)",
    "due": "DELETE FROM due_v1 WHERE id = (SELECT id FROM due_v1 LIMIT 1)",
    "due still": "INSERT INTO due_v1 SELECT ledger, id, recorded_at, position FROM transactions_v1"
    " WHERE status = 'posted' LIMIT 1",
    "payouts": "UPDATE payouts_v1 SET state = 'completed' WHERE id ="
    " (SELECT id FROM payouts_v1 WHERE state = 'stuck' LIMIT 1)",
    "payouts said": "UPDATE payouts_v1 SET body = replace(body, 'w\u00f6rds', 'words') WHERE id ="
    " (SELECT id FROM payouts_v1 WHERE body LIKE '%%w\u00f6rds%%' LIMIT 1)",
    "payouts forgotten": "UPDATE payouts_v1 SET due_at = NULL WHERE id ="
    " (SELECT id FROM payouts_v1 WHERE due_at IS NOT NULL LIMIT 1)",
    "payouts gone": "DELETE FROM payouts_v1 WHERE id = (SELECT id FROM payouts_v1 LIMIT 1)",
    "due later": "UPDATE due_v1 SET due_at = due_at + interval '1 s' WHERE id = (SELECT id FROM due_v1 LIMIT 1)",
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
@pytest.mark.prepared(by=write_and_project)
def test_whatever_is_tampered_with_is_found(
    database: Database, owner: Connection[Any], tampering: str
) -> None:
    assert owner.execute(TAMPERINGS[tampering].encode()).rowcount == 1
    found = differences(owner)
    assert {difference.table for difference in found} == {f"{tampering.partition(' ')[0]}_v1"}
    assert 1 <= len(found) <= 2
    assert str(found[0]).startswith(f"{found[0].table}: {found[0].nature} row: ")


@pytest.mark.prepared(by=write_and_project)
def test_a_difference_names_the_row_and_the_columns(database: Database, owner: Connection[Any]) -> None:
    owner.execute("UPDATE balances_v1 SET posted_debits = 1 WHERE address = 'euros'")
    (difference,) = differences(owner)
    assert difference.nature == "unequal"
    assert difference.key == {"stream": "main-2/accounts/euros"}
    assert difference.columns == {"posted_debits": (0, 1)}
    words = "balances_v1: unequal row: stream main-2/accounts/euros; posted_debits is 1, must be 0"
    assert str(difference) == words


@pytest.mark.prepared(by=write_and_project)
def test_all_differences_are_counted_and_the_first_kept(database: Database, owner: Connection[Any]) -> None:
    owner.execute("DELETE FROM entries_v1")
    with one_instant(owner):
        (version,) = versions(owner, "entries")
        entries, turnovers = compare(owner, version)
    assert (entries.differing, len(entries.differences)) == (entries.rows, MAX_SHOWN)
    assert entries.rows > MAX_SHOWN
    assert turnovers.equal


def test_a_projection_is_compared_where_it_stands(database: Database, owner: Connection[Any]) -> None:
    with projecting(database):
        write(database)
        await_head(owner)
    before = owner.execute("SELECT position FROM head").fetchone()
    author = Author(database, seed=5)
    author.write(rounds=2)
    assert owner.execute("SELECT position FROM head").fetchone() != before
    assert differences(owner) == []
    owner.execute("UPDATE projection_versions SET position = position + 60 WHERE name = 'transactions'")
    assert {difference.table for difference in differences(owner)} >= {"transactions_v1"}


def test_projections_are_compared_while_they_are_advanced(database: Database, owner: Connection[Any]) -> None:
    with projecting(database):
        for seed in range(3):
            author = Author(database, seed)
            author.write(rounds=3)
            assert differences(owner) == []
        await_head(owner)
        assert differences(owner) == []


@pytest.mark.prepared(by=write_and_project)
def test_a_sample_finds_what_was_done_to_its_streams_and_nothing_else(
    database: Database, owner: Connection[Any]
) -> None:
    streams = [stream for (stream,) in owner.execute("SELECT DISTINCT originator_id FROM events").fetchall()]
    transactions = frozenset(stream for stream in streams if "/transactions/" in stream)
    ones = Sample(frozenset({"main-2/accounts/euros", "main/accounts/bank"}), transactions)
    others = Sample(frozenset({"main-2/accounts/cash", "main/accounts/users:1:wallet"}), frozenset())

    def differing(sample: Sample) -> set[str]:
        with one_instant(owner):
            return {
                comparison.table
                for version in versions(owner)
                for comparison in compare(owner, version, sample=sample)
                if not comparison.equal
            }

    assert differing(ones) == differing(others) == set()
    for tampering in (
        TAMPERINGS["balances"],
        "UPDATE entries_v1 SET balance_after = 0 WHERE account = 'bank' AND entry = 2",
        "UPDATE turnovers_v1 SET debits = debits + 1 WHERE account = 'bank'",
        TAMPERINGS["transactions"],
        TAMPERINGS["transaction_accounts"],
        TAMPERINGS["transaction_metadata"],
        TAMPERINGS["due"],
        TAMPERINGS["payouts"],
        TAMPERINGS["ledgers"].replace("main", "main-2"),
    ):
        owner.execute(tampering.encode())
    # A sample covers neither all owed deliveries nor the projections of all events.
    whole = {"outbox", "event_index", "seals"}
    assert differing(ones) == {f"{table}_v1" for table in TABLES if table not in whole}
    assert differing(others) == {"ledgers_v1"}


@pytest.mark.prepared(by=write_and_project)
def test_rows_can_be_had_without_a_comparison(database: Database, owner: Connection[Any]) -> None:
    with one_instant(owner):
        rows = list(expected_rows(owner, "ledgers", 10**9))
    assert [row["name"] for row in rows] == ["main", "main-2", "moving", "other"]
    assert rows[1]["assets"] == ["USD/2", "EUR/2", "JPY/0"]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (b"{", "is not one that any release wrote"),
        (b"[]", "is not one that any release wrote"),
        (b'{"class_version":9,"data":{}}', "is of a newer release: version 9 of transaction.posted"),
        (b'{"class_version":2,"data":{}}', "cannot be folded"),
    ],
)
@pytest.mark.prepared(by=write_and_project)
def test_an_event_that_cannot_be_understood_is_said_to_be_so(
    database: Database, owner: Connection[Any], state: bytes, words: str
) -> None:
    position = append(owner, "main/transactions/x", 1, "transaction.posted", state)
    owner.execute("UPDATE projection_versions SET position = %s", (position,))
    with pytest.raises(Unfoldable, match=words):
        differences(owner, "entries")


@pytest.mark.prepared(by=write_and_project)
def test_the_journal_keeps_its_rules(database: Database, owner: Connection[Any]) -> None:
    accounts = owner.execute("SELECT originator_id FROM events WHERE topic = 'account.opened'").fetchall()
    sample = Sample(frozenset(stream for (stream,) in accounts), frozenset())
    with one_instant(owner):
        assert list(violations(owner)) == []
        assert list(violations(owner, sample)) == []
    delete_event(owner, 60)
    with one_instant(owner):
        assert "position_gap" in {violation.code for violation in violations(owner)}
    disarm(owner)
    stream = "main-2/accounts/euros"
    owner.execute("DELETE FROM stored_events WHERE (originator_id, originator_version) = (%s, 3)", (stream,))
    with one_instant(owner):
        assert [(v.code, v.stream) for v in violations(owner, sample) if v.stream == stream] == [
            ("version_gap", stream)
        ]


@pytest.mark.prepared(by=write_and_project)
def test_rules_are_judged_up_to_what_cannot_be_read(database: Database, owner: Connection[Any]) -> None:
    position = append(owner, "main/accounts/x", 1, "account.opened", b"{")
    sample = Sample(frozenset({"main/accounts/x"}), frozenset())
    for judged in (None, sample):
        with one_instant(owner):
            (found,) = violations(owner, judged)
        assert (found.code, found.position) == ("event_unreadable", position)
