"""Projections on a real journal: exactly once despite cuts and repetitions, and never silently past an unread event."""

import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from psycopg import Connection
from structlog.testing import capture_logs

from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.journal.migrations import migrate
from domain.model.accounts import Account, ChangeAccount, OpenAccount
from domain.model.commands import Command
from domain.model.entries import Entry
from domain.model.events import Context, Recorded, State
from domain.model.holds import SettleHold, VoidHold
from domain.model.idempotency import Operation, operation_id
from domain.model.ledgers import Ledger as Book
from domain.model.ledgers import OpenLedger
from domain.model.money import Direction
from domain.model.postings import PostTransaction
from domain.model.reversals import ReverseTransaction
from domain.model.transactions import Description, Transaction, TransactionPosted
from projections.engine.batches import Claim, EventBatch, advance, read_batch
from projections.engine.dead_letters import list_letters
from projections.engine.journal_listener import JournalListener
from projections.engine.projection import Projection, Queries
from projections.engine.recent_events import RecentEvents
from projections.read_models import balances, entries, ledgers, transactions
from projections.read_models.balances import list_accounts, read_account
from projections.read_models.entries import Clock, StatementEntry, StatementPlace, list_entries
from projections.read_models.ledgers import LedgerPlace, list_ledgers
from projections.read_models.transaction_list import list_transactions
from projections.registry import PROJECTIONS, install
from projections.running.positions import progress
from projections.running.projector import Runner
from tests.ledgers import CONTEXT, folded, history, open_accounts, opening, outcomes, running, transfer
from tests.projecting import (
    Deaf,
    append,
    await_head,
    await_progress,
    delete_event,
    eventually,
    holder,
    projecting,
    set_state,
)

pytestmark = pytest.mark.integration

ADDRESSES = [f"users:{number}:wallet" for number in range(12)] + ["bank", "users", "users-2:x"]


def random_transaction(chance: random.Random, number: int) -> PostTransaction:
    """A transaction of two to five entries, some for the same account. One in three has another effective time."""
    sides: list[tuple[str, Direction, int]] = []
    for _ in range(chance.choice((1, 1, 1, 2))):
        amount = chance.randint(1, 1000)
        debited, credited, third = chance.sample(ADDRESSES, 3)
        part = chance.randint(0, amount - 1)
        sides.append((debited, "debit", amount))
        sides.append((credited, "credit", amount - part))
        if part:
            sides.append((third, "credit", part))
    elsewhen = [f"20{year}-0{month}-01T00:00:00.000000Z" for year in (25, 26, 31) for month in range(1, 9)]
    key = f"random-{number}"
    return PostTransaction(
        CONTEXT,
        "main",
        Operation(key, operation_id("main", key), "f"),
        Description(reference=f"order\t{number}\\N\n" if number % 5 == 0 else ""),
        tuple(Entry(account=account, direction=side, amount=amount) for account, side, amount in sides),
        chance.choice(elsewhen) if chance.random() < 0.35 else None,
    )


def settled_and_reversed(chance: random.Random, number: int) -> list[Command]:
    """Two holds: one voided, the other settled in part and that settlement reversed in part."""

    def asked(what: str) -> tuple[Context, str, Operation, Description]:
        key = f"{what}-{number}"
        return CONTEXT, "main", Operation(key, operation_id("main", key), "f"), Description(reference=key)

    debited, credited = chance.sample([address for address in ADDRESSES if address != ADDRESSES[3]], 2)
    holds = [replace(transfer(debited, credited, 9, key=f"{n}-{number}"), pending=True) for n in (1, 2)]
    elsewhen = chance.choice([None, "2025-03-01T00:00:00.000000Z", "2031-03-01T00:00:00.000000Z"])
    return [
        *holds,
        SettleHold(*asked("settlement"), holds[0].operation.id, 7),
        VoidHold(*asked("void"), holds[1].operation.id),
        ReverseTransaction(*asked("reversal"), operation_id("main", f"settlement-{number}"), 2, elsewhen),
    ]


def fill(ledger: LedgerApplication, seed: int = 7, count: int = 240) -> None:
    """Write two books: accounts of both sides, random transactions, refusals and changes of accounts."""
    chance = random.Random(seed)
    ledger.perform(OpenLedger(CONTEXT, "main", {"colour": "green"}))
    ledger.perform(OpenLedger(CONTEXT, "other", {}))
    outcomes(
        ledger.execute(
            *(
                OpenAccount(
                    CONTEXT,
                    "main",
                    address,
                    opening(
                        minimum=-5000 if number == 3 else None,
                        normal_side="debit" if number % 3 == 0 else "credit",
                    ),
                )
                for number, address in enumerate(ADDRESSES)
            ),
            OpenAccount(CONTEXT, "main", "vault", opening(asset="JPY/0")),
            OpenAccount(CONTEXT, "other", "bank", opening(asset="EUR/2")),
        ).result()
    )
    for first in range(0, count, 40):
        outcomes(
            ledger.execute(
                *(random_transaction(chance, number) for number in range(first, first + 40))
            ).result()
        )
        outcomes(ledger.execute(*settled_and_reversed(chance, first)).result())
        address = chance.choice(ADDRESSES)
        ledger.perform(
            ChangeAccount(CONTEXT, "main", address, metadata={"round": str(first), "quote": "'\"\\"})
        )
        ledger.perform(ChangeAccount(CONTEXT, "main", address, max_balance=10**9 + first))


def statement(states: dict[str, State], events: Sequence[Recorded], address: str, clock: Clock) -> list[Any]:
    """The statement of an account, computed only from the folded transactions."""
    account = states[f"main/accounts/{address}"]
    found = []
    for recorded in events:
        state = states[recorded.stream]
        if not isinstance(state, Transaction) or state.made_position != recorded.position:
            continue
        if state.kind not in ("posting", "settlement", "reversal") or state.status != "posted":
            continue
        for number, entry in enumerate(state.entries, start=1):
            if entry.account == address:
                time = state.recorded_at if clock == "recorded" else state.effective_at
                change = entry.amount if entry.direction == account.normal_side else -entry.amount
                found.append(
                    ((time, state.made_position, number), state.id, entry.direction, change, state.reference)
                )
    found.sort()
    balance, rows = 0, []
    for place, transaction_id, direction, change, reference in found:
        balance += change
        rows.append((place, transaction_id, direction, abs(change), change, balance, reference))
    return rows


def shown(rows: Sequence[StatementEntry], clock: Clock) -> list[Any]:
    return [
        (
            tuple(row.place(clock)),
            row.transaction_id,
            row.direction,
            row.amount,
            row.change,
            row.balance_after,
            row.reference,
        )
        for row in rows
    ]


def assert_equal_to_fold(database: Database, connection: Connection[Any]) -> None:
    """Assert that the read models equal the journal, folded without them."""
    events = history(database)
    states = folded(events)
    for book in {state.ledger for state in states.values() if isinstance(state, Account)}:
        expected = [state for state in states.values() if isinstance(state, Account) and state.ledger == book]
        page = list_accounts(connection, book, limit=1000)
        assert page.rows == sorted(expected, key=lambda account: account.address)
        assert page.position == page.head == len(events)
    books = [state for state in states.values() if isinstance(state, Book)]
    assert list_ledgers(connection, limit=1000).rows == sorted(
        books, key=lambda book: (book.opened_at, book.name)
    )
    made = [state for state in states.values() if isinstance(state, Transaction) and state.ledger == "main"]
    listed = list_transactions(connection, "main", limit=1_000_000).rows
    assert [(state.id, state.status, state.version, state.position) for state in listed] == [
        (state.id, state.status, state.version, state.position)
        for state in sorted(made, key=lambda state: state.made_position)
    ]
    for clock in ("recorded", "effective"):
        for account in list_accounts(connection, "main", limit=1000).rows:
            rows = list_entries(connection, "main", account.address, clock=clock, limit=1_000_000).rows
            assert shown(rows, clock) == statement(states, events, account.address, clock)


def test_read_models_equal_an_independent_fold_of_the_journal(
    database: Database, owner: Connection[Any]
) -> None:
    with projecting(database), running(database) as ledger:
        fill(ledger)
        await_head(owner)
        assert_equal_to_fold(database, owner)


def test_lists_are_read_page_by_page_and_filtered(database: Database, owner: Connection[Any]) -> None:
    with projecting(database), running(database) as ledger:
        fill(ledger, seed=8, count=120)
        await_head(owner)
    everything = list_accounts(owner, "main", limit=1000).rows
    for descending in (False, True):
        ordered = everything[::-1] if descending else everything
        seen: list[Account] = []
        while page := list_accounts(
            owner, "main", after=seen[-1].address if seen else None, limit=4, descending=descending
        ).rows:
            seen += page
        assert seen == ordered
        some = list_accounts(owner, "main", prefix="users:1", limit=1000, descending=descending).rows
        assert some == [account for account in ordered if account.address.startswith("users:1")]
        assert len(some) == 3
    addresses = [account.address for account in everything]
    assert [a.address for a in list_accounts(owner, "main", prefix="users", limit=99).rows] == [
        address for address in addresses if address.startswith("users")
    ]
    assert [a.address for a in list_accounts(owner, "main", asset="JPY/0", limit=9).rows] == ["vault"]
    assert list_accounts(owner, "main", status="frozen", limit=9).rows == []
    assert len(list_accounts(owner, "main", status="open", limit=99).rows) == len(everything)
    changed = [account for account in everything if account.metadata.get("round") == "40"]
    assert list_accounts(owner, "main", metadata={"round": "40"}, limit=99).rows == changed
    assert list_accounts(owner, "main", metadata={"round": "40", "absent": "x"}, limit=99).rows == []
    assert list_accounts(owner, "main", prefix="%", limit=9).rows == []
    assert list_accounts(owner, "nowhere", limit=9).rows == []
    assert [book.name for book in list_ledgers(owner, limit=1).rows] == ["main"]
    (main,) = list_ledgers(owner, limit=1).rows
    after = LedgerPlace(main.opened_at, main.name)
    assert [book.name for book in list_ledgers(owner, limit=9, after=after).rows] == ["other"]
    assert [book.name for book in list_ledgers(owner, limit=9, descending=True).rows] == ["other", "main"]
    assert [book.name for book in list_ledgers(owner, limit=9, granted=["other", "x"]).rows] == ["other"]
    assert list_ledgers(owner, limit=9, granted=[]).rows == []
    assert read_account(owner, "main", "bank").found == next(a for a in everything if a.address == "bank")
    assert read_account(owner, "main", "nobody").found is None


@pytest.mark.parametrize("clock", ["recorded", "effective"])
def test_statements_are_read_page_by_page_with_the_balance_of_the_whole(
    database: Database, owner: Connection[Any], clock: Clock
) -> None:
    with projecting(database), running(database) as ledger:
        fill(ledger, seed=9)
        await_head(owner)
    for address in ADDRESSES[:4]:
        whole = list_entries(owner, "main", address, clock=clock, limit=1_000_000).rows
        assert len(whole) > 20
        for descending in (False, True):
            ordered = whole[::-1] if descending else whole
            seen: list[StatementEntry] = []
            after: StatementPlace | None = None
            while page := list_entries(
                owner, "main", address, clock=clock, after=after, limit=7, descending=descending
            ).rows:
                seen += page
                after = page[-1].place(clock)
            assert seen == ordered
        since, until = whole[5].place(clock).time, whole[-5].place(clock).time
        assert list_entries(
            owner, "main", address, clock=clock, since=since, until=until, limit=999
        ).rows == [entry for entry in whole if since <= entry.place(clock).time < until]


class Cut:
    """A projection whose session is ended after it has written its first batch and before the commit."""

    def __init__(self, original: Projection, owner: Connection[Any]) -> None:
        self._original = original
        self._owner = owner
        self.cuts = 0

    def project(self, connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
        self._original.project(connection, queries, events)
        if self.cuts < 2:
            self.cuts += 1
            self._owner.execute("SELECT pg_terminate_backend(%s, 10000)", (connection.info.backend_pid,))


def test_a_connection_lost_between_write_and_commit_changes_nothing_twice(
    database: Database, owner: Connection[Any]
) -> None:
    originals = (entries.PROJECTION, balances.PROJECTION, transactions.PROJECTION)
    cuts = [Cut(original, owner) for original in originals]
    cut = [original._replace(project=cut.project) for original, cut in zip(originals, cuts, strict=True)]
    with running(database) as ledger:
        fill(ledger, count=80)
    with projecting(database, cut[:1]):
        await_head(owner, "entries")
    with projecting(database, [ledgers.PROJECTION, *cut[1:]]):
        await_head(owner, "ledgers", "balances", "transactions")
    assert [seen.cuts for seen in cuts] == [2, 2, 2]
    assert_equal_to_fold(database, owner)


def test_two_projectors_count_nothing_twice_and_one_takes_over_from_the_other(
    database: Database, owner: Connection[Any]
) -> None:
    with running(database) as ledger, projecting(database):
        with projecting(database):
            fill(ledger, count=120)
            await_head(owner)
            first = holder(owner, "entries")
            assert first is not None
            # The place becomes free with its holder's session, and one of the two takes it.
            owner.execute("SELECT pg_terminate_backend(%s, 10000)", (first,))
            eventually(lambda: holder(owner, "entries") not in (None, first))
            outcomes(ledger.execute(*(transfer("bank", "users", 1) for _ in range(50))).result())
            await_head(owner)
        outcomes(ledger.execute(*(transfer("bank", "users", 1) for _ in range(50))).result())
        await_head(owner)
    assert_equal_to_fold(database, owner)


def test_a_runner_that_was_taken_over_writes_nothing(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        head = outcomes(ledger.execute(transfer("a", "b", 5)).result())[0].position
    mine, other = (Claim(entries.PROJECTION, 1, uuid4(), "running") for _ in range(2))
    owner.execute("UPDATE projection_versions SET runner = %s WHERE name = 'entries'", (other.runner,))
    batch = read_batch(owner, entries.PROJECTION, 0, head)
    assert len(batch.events) == 1
    assert not advance(owner, mine, batch, 0.0, None)
    assert list_entries(owner, "main", "a", limit=9).rows == []
    assert advance(owner, other, batch, 0.0, None)
    assert not advance(owner, other, batch, 0.0, None)
    assert len(list_entries(owner, "main", "a", limit=9).rows) == 1


def test_a_runner_that_finds_itself_taken_over_lets_go_of_its_place(
    database: Database, owner: Connection[Any]
) -> None:
    with running(database) as ledger, projecting(database):
        open_accounts(ledger, "a", "b")
        await_head(owner)
        first = holder(owner, "entries")
        owner.execute("UPDATE projection_versions SET runner = %s", (uuid4(),))
        eventually(lambda: holder(owner, "entries") not in (None, first))
        outcomes(ledger.execute(transfer("a", "b", 5)).result())
        await_head(owner)
    assert_equal_to_fold(database, owner)


def test_a_missed_notification_is_made_up_by_looking(database: Database, owner: Connection[Any]) -> None:
    with projecting(Deaf(*database)), running(database) as ledger:
        open_accounts(ledger, "a", "b")
        await_head(owner)
        ledger.perform(transfer("a", "b", 5))
        await_head(owner)
    assert_equal_to_fold(database, owner)


def test_a_gap_in_the_journal_halts_what_comes_to_it(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        outcome = ledger.perform(transfer("a", "b", 5))
        outcomes(ledger.execute(*(transfer("a", "b", 5) for _ in range(9))).result())
    # An event with a topic neither reads. Any gap means that something is wrong.
    append(owner, "main/other", 1, "future.event", b"{}")
    head = append(owner, "main/other", 2, "future.event", b"{}")
    delete_event(owner, outcome.position)
    delete_event(owner, head)
    with projecting(database):
        for name in PROJECTIONS:
            seen = await_progress(owner, name, lambda seen: seen.state == "halted")
            assert seen.position == outcome.position - 1
            assert seen.last_error is not None
            assert f"event {outcome.position} is missing" in seen.last_error
            assert seen.lag_events == head - outcome.position + 1
            assert seen.lag_seconds > 0


def test_a_missing_last_event_is_a_gap(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
    head = append(owner, "main/other", 1, "future.event", b"{}")
    delete_event(owner, head)
    with projecting(database):
        seen = await_progress(owner, "entries", lambda seen: seen.state == "halted")
        assert (seen.position, seen.head) == (head - 1, head)


def test_an_unknown_topic_is_passed_over(database: Database, owner: Connection[Any]) -> None:
    with projecting(database), running(database) as ledger:
        open_accounts(ledger, "a", "b")
        append(owner, "main/future/1", 1, "future.event", b"\x00 not even JSON")
        ledger.perform(transfer("a", "b", 5))
        await_head(owner)
        assert {seen.balance for seen in list_accounts(owner, "main", limit=9).rows} == {-5, 5}


def test_an_event_of_a_newer_release_halts_what_reads_it(database: Database, owner: Connection[Any]) -> None:
    with projecting(database), running(database) as ledger:
        open_accounts(ledger, "a", "b")
        before = ledger.perform(transfer("a", "b", 5)).position
        with owner.transaction():  # together, so that one batch meets both
            state = b'{"class_version":99,"data":{}}'
            newer = append(owner, "main/transactions/x", 1, "transaction.posted", state)
            append(owner, "main/future/1", 1, "future.event", b"{}")
        await_head(owner, "balances", "ledgers")
        seen = await_progress(owner, "entries", lambda seen: seen.state == "halted")
        assert seen.position == newer - 1 >= before
        assert seen.last_error is not None
        assert "newer_version" in seen.last_error
        assert seen.lag_seconds >= 0
        assert seen.dead_letters == 0
        assert len(list_entries(owner, "main", "a", limit=9).rows) == 1
        # The place is free for a release that can read the event.
        eventually(lambda: holder(owner, "entries") is None)
        # When resumed, it meets the same event again: nothing is ever skipped.
        set_state(owner, "entries", "running")
        assert await_progress(owner, "entries", lambda seen: seen.state == "halted").position == newer - 1


def test_a_newer_release_goes_on_where_an_older_one_has_halted(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    present = TransactionPosted.class_version
    with projecting(database), running(database) as ledger:
        open_accounts(ledger, "a", "b")
        posted = ledger.perform(transfer("a", "b", 5)).position
        stored = owner.execute("SELECT state FROM events WHERE notification_id = %s", (posted,)).fetchone()
        assert stored is not None
        raised = stored[0].replace(b'"class_version":%d' % present, b'"class_version":%d' % (present + 1))
        newer = append(owner, f"main/transactions/{uuid4()}", 1, TransactionPosted.TOPIC, raised)
        await_progress(owner, "entries", lambda seen: seen.state == "halted")
        monkeypatch.setattr(TransactionPosted, "class_version", present + 1)
        # The older release stops there, and a newer one continues without an operator.
        with projecting(database, [entries.PROJECTION]):
            seen = await_progress(owner, "entries", lambda seen: seen.position >= newer)
        assert (seen.state, seen.last_error) == ("running", None)
        assert len(list_entries(owner, "main", "a", limit=9).rows) == 2


def test_who_comes_and_cannot_read_on_either_leaves_it_halted(
    database: Database, owner: Connection[Any]
) -> None:
    with projecting(database, [entries.PROJECTION]), running(database) as ledger:
        open_accounts(ledger, "a", "b")
        newer = append(owner, "main/transactions/x", 1, "transaction.posted", b'{"class_version":99}')
        await_progress(owner, "entries", lambda seen: seen.state == "halted")
        eventually(lambda: holder(owner, "entries") is None)
    left = {"event": "projection is left to a newer release", "projection": "entries"}
    with capture_logs() as logs, projecting(database, [entries.PROJECTION]):
        eventually(lambda: any(left.items() <= log.items() for log in logs))
        seen = progress(owner, "entries")
        assert (seen.state, seen.position) == ("halted", newer - 1)
        assert seen.last_error is not None and seen.last_error.startswith("newer_version: ")


def test_tables_that_contradict_the_journal_hold_what_contradicts_it(
    database: Database, owner: Connection[Any]
) -> None:
    with projecting(database), running(database) as ledger:
        open_accounts(ledger, "a", "b")
        await_head(owner)
        owner.execute("UPDATE balances_v1 SET version = 7 WHERE address = 'a'")
        ledger.perform(transfer("a", "b", 5))
        await_head(owner)
        (letter,) = list_letters(owner)
        assert "main/accounts/a is not at the version before event" in letter.message
        assert [seen.balance for seen in list_accounts(owner, "main", limit=9).rows] == [0, 5]


def test_what_is_paused_does_not_move_until_it_is_resumed(database: Database, owner: Connection[Any]) -> None:
    with projecting(database), running(database) as ledger:
        open_accounts(ledger, "a", "b")
        paused_at = await_head(owner)
        set_state(owner, "entries", "paused")
        ledger.perform(transfer("a", "b", 5))
        head = await_head(owner, "balances", "ledgers")
        seen = await_progress(owner, "entries", lambda seen: seen.head == head)
        assert (seen.state, seen.position, seen.lag_events) == ("paused", paused_at, head - paused_at)
        page = list_entries(owner, "main", "a", limit=9)
        assert (page.rows, page.position, page.head) == ([], paused_at, head)
        set_state(owner, "entries", "running")
        await_head(owner)


def test_a_fault_is_recorded_and_tried_again_while_others_go_on(
    database: Database, owner: Connection[Any]
) -> None:
    mended = threading.Event()

    def project(connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
        entries.project(connection, queries, events)
        if not mended.is_set():
            raise RuntimeError("a fault of ours")

    sound = [found for found in PROJECTIONS.values() if found is not entries.PROJECTION]
    faulty = [*sound, entries.PROJECTION._replace(project=project)]
    with projecting(database, faulty), running(database) as ledger:
        fill(ledger, count=40)
        seen = await_progress(owner, "entries", lambda seen: seen.last_error is not None)
        assert seen.last_error == "RuntimeError: a fault of ours"
        assert seen.state == "running"
        await_head(owner, "ledgers", "balances")
        mended.set()
        await_head(owner, "ledgers", "balances", "entries")
        assert await_progress(owner, "entries", lambda seen: True).last_error is None
    assert_equal_to_fold(database, owner)


def test_a_projector_waits_for_a_database_that_is_not_migrated_yet(empty_database: Database) -> None:
    with projecting(empty_database, tuple(PROJECTIONS.values())):
        migrate(empty_database)
        with running(empty_database) as ledger, empty_database.connect("test") as connection:
            open_accounts(ledger, "a", "b")
            eventually(
                lambda: (
                    connection.execute("SELECT count(*) FROM projections").fetchone() == (len(PROJECTIONS),)
                )
            )
            await_head(connection, "entries")


def test_any_number_may_install_at_once(migrated_database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(install, migrated_database) for _ in range(8)]:
            done.result()
    with migrated_database.connect("test") as connection:
        rows = connection.execute(
            "SELECT name, version, position, state FROM projection_versions ORDER BY name"
        ).fetchall()
    assert rows == [(name, 1, 0, "running") for name in sorted(PROJECTIONS)]


def test_an_empty_range_is_an_empty_batch(database: Database, owner: Connection[Any]) -> None:
    assert read_batch(owner, entries.PROJECTION, 0, 0) == EventBatch(0, 0, [])


def test_a_runner_that_is_stopped_ends_though_another_holds_the_place(
    database: Database, owner: Connection[Any]
) -> None:
    stop = threading.Event()
    with projecting(database):
        eventually(lambda: holder(owner, "entries") is not None)
        standby = threading.Thread(
            target=Runner(database, entries.PROJECTION, stop, RecentEvents(), JournalListener(database)).run
        )
        standby.start()
        stop.set()
        standby.join(60)
        assert not standby.is_alive()
