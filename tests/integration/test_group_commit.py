"""The write path on a real journal: nothing is lost, nothing happens twice, and one command's failure is its own."""

import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from msgspec.structs import fields, replace

from domain.application import LedgerApplication, system_clock
from domain.commit import loading, pipeline, queue
from domain.commit.decider import Decider
from domain.commit.group_commit import GroupCommit
from domain.commit.pipeline import Pipeline
from domain.journal.abbreviations import WHOLE
from domain.journal.database import Database
from domain.journal.writer import JournalWriter, Locked, Rows, Span
from domain.model.accounts import Account, ChangeAccount
from domain.model.commands import Outcome
from domain.model.entries import Entry
from domain.model.errors import (
    AccountNotFound,
    IdempotencyKeyReused,
    JournalUnavailable,
    LedgerNotFound,
    Overloaded,
    UnbalancedTransaction,
)
from domain.model.events import State
from domain.model.holds import SettleHold, VoidHold
from domain.model.postings import PostTransaction
from domain.model.registry import evolve
from domain.model.streams import account_stream
from domain.model.transactions import Description
from tests.ledgers import CONTEXT, folded, history, open_accounts, outcomes, running, transfer
from tests.payouts import CLEARING, a_request
from tests.projecting import append, cut, eventually

pytestmark = pytest.mark.integration


def balances(ledger: LedgerApplication, *addresses: str) -> list[int]:
    return [ledger.account("main", address)[0].balance for address in addresses]


def test_a_command_that_fails_affects_only_itself(database: Database) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        unbalanced = replace(
            transfer("a", "b", 1),
            entries=(
                Entry(account="a", direction="debit", amount=1),
                Entry(account="b", direction="credit", amount=2),
            ),
        )
        results = ledger.execute(
            transfer("a", "b", 5),
            transfer("a", "nobody", 5),
            unbalanced,
            transfer("a", "b", 5, book="other"),
            transfer("a", "b", 7),
        ).result()
        assert [type(result) for result in results] == [
            Outcome,
            AccountNotFound,
            UnbalancedTransaction,
            LedgerNotFound,
            Outcome,
        ]
        assert balances(ledger, "a", "b") == [-12, 12]


def test_a_writer_that_starts_knows_the_accounts_of_the_newest_events(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "LEARNED_AT_ONCE", 1)
    addresses = ["a", "b", "c", "d"]
    decider, connection = Decider(system_clock), JournalWriter(database, "starting writer")
    with running(database) as ledger:
        open_accounts(ledger, *addresses)

        for _ in loading.warm_up(decider, connection):
            # Another process writes between any two reads.
            outcomes(ledger.execute(transfer("a", "b", 1), transfer("c", "d", 2)).result())
        connection.disconnect()
    states = folded(history(database)[: decider.position])
    known = ["main/ledger", *(account_stream("main", address) for address in addresses)]
    assert decider.states == {stream: states[stream] for stream in known}


def test_a_writer_that_starts_takes_the_first_commands_at_once(database: Database) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
    decider, connection = Decider(system_clock), JournalWriter(database, "starting writer")
    next(loading.warm_up(decider, connection))
    connection.disconnect()
    assert decider.states == {}


class Faulty(PostTransaction):
    """A command that raises an unexpected exception."""

    def decide(self, *_: object) -> Any:
        raise ZeroDivisionError


def test_a_fault_of_ours_in_one_command_leaves_the_others_alone(database: Database) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        sound = transfer("a", "b", 5)
        results = ledger.execute(
            transfer("a", "b", 5),
            Faulty(*(getattr(sound, field.name) for field in fields(sound))),
            transfer("a", "b", 7),
        ).result()
        assert isinstance(results[1], ZeroDivisionError)
        outcomes([results[0], results[2]])
        assert balances(ledger, "a", "b") == [-12, 12]
        folded(history(database))


def test_what_the_database_refuses_in_one_command_leaves_the_others_alone(database: Database) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        nul = transfer("a", "no text of PostgreSQL holds a \x00", 3)
        results = ledger.execute(transfer("a", "b", 5), nul, transfer("a", "b", 7)).result()
        assert isinstance(results[1], psycopg.DataError)
        outcomes([results[0], results[2]])
        assert balances(ledger, "a", "b") == [-12, 12]


def test_later_commands_of_a_batch_see_earlier_ones(database: Database) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "bank")
        open_accounts(ledger, "a", "b", minimum=0)
        results = outcomes(
            ledger.execute(
                transfer("a", "b", 5), transfer("bank", "a", 5), transfer("a", "b", 5), transfer("a", "b", 1)
            ).result()
        )
        assert [result.state.status for result in results] == ["rejected", "posted", "posted", "rejected"]
        assert balances(ledger, "bank", "a", "b") == [-5, 0, 5]


def test_a_replay_is_answered_as_the_first_time_and_another_request_is_refused(database: Database) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b", minimum=0)
        rejected = ledger.perform(transfer("a", "b", 5, key="k1"))
        first = ledger.perform(transfer("b", "b", 5, key="k2"))
        again = ledger.execute(transfer("a", "b", 5, key="k1"), transfer("b", "b", 5, key="k2")).result()
        assert outcomes(again) == [
            rejected._replace(recorded=False, replayed=True),
            first._replace(recorded=False, replayed=True),
        ]
        with pytest.raises(IdempotencyKeyReused):
            ledger.perform(transfer("a", "b", 5, key="k1", fingerprint="other"))


def test_one_key_from_many_threads_and_processes_is_one_transaction(database: Database) -> None:
    with running(database) as one, running(database) as other:
        open_accounts(one, "a", "b")
        with ThreadPoolExecutor(20) as threads:
            results = list(
                threads.map(
                    lambda n: (one if n % 2 else other).perform(transfer("a", "b", 5, key="same")), range(20)
                )
            )
        assert len({result.position for result in results}) == 1
        assert [result.replayed for result in results].count(False) == 1
        assert balances(one, "a", "b") == [-5, 5]


def test_a_limited_account_is_never_below_its_limit(database: Database) -> None:
    with running(database) as one, running(database) as other:
        open_accounts(one, "bank")
        open_accounts(one, "a", "b", minimum=0)
        one.perform(transfer("bank", "a", 100))
        with ThreadPoolExecutor(16) as threads:
            results = list(
                threads.map(lambda n: (one if n % 2 else other).perform(transfer("a", "b", 7)), range(64))
            )
        assert [result.state.status for result in results].count("posted") == 14
        assert balances(other, "a", "b") == [2, 98]
    states: dict[str, State] = {}
    for recorded in history(database):
        states[recorded.stream] = evolve(states.get(recorded.stream), recorded)
        account = states.get(account_stream("main", "a"))
        assert account is None or account.available >= 0


def test_two_writers_take_turns_and_see_each_other(database: Database) -> None:
    with running(database) as one, running(database) as other:
        open_accounts(one, "a", "b")
        pending = [
            (one if n % 3 else other).execute(*(transfer("a", "b", 1) for _ in range(n)))
            for n in range(1, 60)
        ]
        for future in pending:
            outcomes(future.result())
        total = sum(range(1, 60))
        assert balances(one, "a", "b") == balances(other, "a", "b") == [-total, total]
    folded(history(database))


@pytest.fixture
def caught_up(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of the events that a writer reads each time to catch up with others."""
    sizes: list[int] = []
    lock = JournalWriter.lock

    def watched(writer: JournalWriter, streams: Collection[str], missed: Span | None = None) -> Locked:
        locked = lock(writer, streams, missed)
        sizes.append(sum(len(state or b"") for _, _, _, state, _ in locked.missed))
        return locked

    monkeypatch.setattr(JournalWriter, "lock", watched)
    return sizes


def test_of_what_others_appended_only_movements_are_read(
    database: Database, owner: psycopg.Connection[Any], caught_up: list[int]
) -> None:
    large = b'{"class_version":1,"data":"%s"}' % (b"x" * 1024**2)
    with running(database) as one, running(database) as other:
        open_accounts(one, "a", "b")
        outcomes(other.execute(transfer("a", "b", 1)).result())
        outcomes(one.execute(transfer("a", "b", 1)).result())
        for number in range(3):
            append(owner, f"main/transactions/{number}", 1, "transaction.unheard_of", large)
            append(owner, f"main/accounts/other:{number}", 1, "account.unheard_of", large)
        outcomes(other.execute(transfer("a", "b", 1)).result())
        outcomes(one.execute(transfer("a", "b", 1)).result())
        assert balances(one, "a", "b") == balances(other, "a", "b") == [-4, 4]
    assert 0 < max(caught_up) < 1_000


@pytest.mark.parametrize("most_events", [1, 10, 1_000])
def test_two_writers_agree_whether_or_not_they_caught_up(
    database: Database, caught_up: list[int], monkeypatch: pytest.MonkeyPatch, most_events: int
) -> None:
    monkeypatch.setattr(loading, "MAX_CATCH_UP_EVENTS", most_events)
    with running(database) as one, running(database) as other:
        open_accounts(one, "a", "b")
        for count in (1, 3, 1, 40, 2, 1):
            for ledger in (one, other):
                outcomes(ledger.execute(*(transfer("a", "b", 1) for _ in range(count))).result())
        assert balances(one, "a", "b") == balances(other, "a", "b") == [-96, 96]
    assert any(caught_up)
    folded(history(database))


def test_what_others_appended_is_known_or_is_loaded_again(database: Database) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b", "c", "d", "e")
        held = replace(transfer("a", "b", 4, key="held"), pending=True)
        voided = replace(transfer("a", "b", 4, key="voided"), pending=True)
        outcomes(ledger.execute(held, voided).result())
        decider, connection = Decider(system_clock), JournalWriter(database, "following writer")
        for _ in loading.warm_up(decider, connection):
            pass
        settled, void = (transfer("a", "b", 1).operation for _ in range(2))
        outcomes(
            ledger.execute(
                transfer("a", "c", 3),
                SettleHold(CONTEXT, "main", settled, Description(), held.operation.id, 3),
                VoidHold(CONTEXT, "main", void, Description(), voided.operation.id),
                replace(transfer("b", "c", 2), pending=True),
                ChangeAccount(CONTEXT, "main", "d", metadata={"of": "another writer"}),
                transfer("d", "e", 3),
            ).result()
        )
        (head, *_), _, events = connection.lock((), loading.missed(decider))
        loading.catch_up(decider, head, events, connection)
        connection.disconnect()
    states = folded(history(database))
    known = ["main/ledger", *(account_stream("main", address) for address in "abce")]
    assert decider.states == {stream: states[stream] for stream in known}
    assert decider.position == head


def test_keys_that_are_not_new_are_found_beside_others_that_write(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[int] = []
    lock = JournalWriter.lock

    def counting(self: JournalWriter, streams: Collection[str], missed: Span | None = None) -> Locked:
        loaded.append(len(streams))
        return lock(self, streams, missed)

    with running(database) as one, running(database) as other:
        open_accounts(one, "a", "b")
        first = transfer("a", "b", 1)
        outcomes(other.execute(first).result())
        outcomes(one.execute(transfer("a", "b", 1)).result())  # finds that the head has moved
        monkeypatch.setattr(JournalWriter, "lock", counting)
        outcomes(one.execute(transfer("a", "b", 1)).result())
        assert loaded == [0], "new keys are not looked for"
        again, new = outcomes(one.execute(first, transfer("a", "b", 1)).result())
        assert again.replayed and new.recorded
        assert loaded == [0, 0, 5], (
            "a key, once it is found not to be new, is looked for: all is decided again"
        )
        with pytest.raises(AccountNotFound):
            one.perform(transfer("a", "nobody", 1))
        assert balances(one, "a", "b") == [-4, 4]
    folded(history(database))


@pytest.mark.parametrize("amount", [40, 41], ids=["the_same", "another"])
def test_a_payout_that_is_asked_for_again_has_its_first_answer(database: Database, amount: int) -> None:
    """It finds the payout begun, before anything shows that its key is not new."""
    with running(database) as one, running(database) as other:
        open_accounts(one, "alice", CLEARING)
        outcomes(one.execute(transfer(CLEARING, "alice", 100)).result())
        first = other.perform(a_request(amount=40))
        fingerprint = "fingerprint-1" if amount == 40 else "fingerprint-2"
        (again,) = one.execute(a_request(amount=amount, fingerprint=fingerprint)).result()
        if amount == 40:
            assert again == first._replace(recorded=False, replayed=True)
        else:
            assert isinstance(again, IdempotencyKeyReused)
        assert outcomes(one.execute(transfer(CLEARING, "alice", 1)).result())[0].recorded
    folded(history(database))


def test_large_batches_are_decided_ahead_of_the_commit_and_still_agree(database: Database) -> None:
    with running(database) as one, running(database) as other:
        open_accounts(one, "a", "b", "c")
        keys = [f"key-{n}" for n in range(1200)]
        pending = [one.execute(*(transfer("a", "b", 1, key=key) for key in keys[:600]))]
        pending += [
            one.execute(*(transfer("a", "b", 1, key=key) for key in keys[n : n + 300])) for n in (300, 600)
        ]
        pending += [other.execute(*(transfer("b", "c", 1) for _ in range(250))) for _ in range(2)]
        pending += [one.execute(*(transfer("a", "b", 1, key=key) for key in keys)) for _ in range(3)]
        results = [outcomes(future.result()) for future in pending]
        assert [result.replayed for result in results[1]] == [True] * 300
        assert all(result.replayed for result in results[-1])
        assert balances(one, "a", "b", "c") == [-1200, 700, 500]
    folded(history(database))


def test_the_connection_may_be_cut_at_any_moment(database: Database, owner: psycopg.Connection[Any]) -> None:
    """The writer's backends are terminated again and again while two writers work."""
    stop = threading.Event()

    def terminate() -> None:
        for _ in range(40):
            cut(owner, "tallystick writer")
            if stop.wait(0.05):
                return

    with running(database) as one, running(database) as other:
        open_accounts(one, "a", "b")
        cutting = threading.Thread(target=terminate)
        cutting.start()
        results = []
        for n in range(30):
            size = 250 if n % 5 == 0 else 20
            pending = [w.execute(*(transfer("a", "b", 1) for _ in range(size))) for w in (one, one, other)]
            results += [result for future in pending for result in outcomes(future.result())]
        stop.set()
        cutting.join()
    posted = [result for result in results if result.state.status == "posted"]
    assert len(posted) == len(results) and not any(result.replayed for result in results)
    account = folded(history(database))[account_stream("main", "b")]
    assert isinstance(account, Account) and account.balance == len(posted)


def test_a_full_queue_refuses_and_does_not_grow(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MAX_WAITING_COMMANDS", 10)
    ledger = LedgerApplication(database)  # not started, so submissions wait
    for _ in range(10):
        ledger.execute(transfer("a", "b", 1))
    with pytest.raises(Overloaded):
        ledger.execute(transfer("a", "b", 1))
    assert ledger.group_commit.waiting_commands == 10
    ledger.start()
    ledger.close()
    with pytest.raises(JournalUnavailable):
        ledger.execute(transfer("a", "b", 1))


@pytest.mark.parametrize("all_or_none", [False, True])
def test_no_commands_are_answered_at_once(database: Database, all_or_none: bool) -> None:
    ledger = LedgerApplication(database)  # not started, so submissions wait
    ledger.execute(transfer("a", "b", 1))
    assert list(ledger.execute(all_or_none=all_or_none).result(timeout=0)) == []
    ledger.start()
    assert list(ledger.execute(all_or_none=all_or_none).result(timeout=0)) == []
    ledger.close()
    assert history(database) == []


def test_stopping_commits_what_waits(database: Database) -> None:
    ledger = LedgerApplication(database)
    ledger.start()
    open_accounts(ledger, "a", "b")
    pending = [ledger.execute(transfer("a", "b", 1)) for _ in range(500)]
    ledger.close()
    for future in pending:
        outcomes(future.result(timeout=0))
    assert len(history(database)) == 1 + 1 + 2 + 3 * 500


def test_an_unreachable_journal_is_said_so_and_not_a_failure_of_the_request(
    database: Database, owner: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        patience_seconds = queue.PATIENCE_SECONDS
        monkeypatch.setattr(queue, "PATIENCE_SECONDS", 0.3)
        owner.execute("BEGIN; LOCK TABLE head IN ACCESS EXCLUSIVE MODE")
        command = transfer("a", "b", 5, key="k")
        future = ledger.execute(command)
        with database.connect_as_owner("test") as other:
            while not future.done():
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'tallystick writer'"
                    " AND wait_event_type = 'Lock'"
                )
        (result,) = future.result()
        assert isinstance(result, JournalUnavailable) and result.reason == "unreachable"
        owner.execute("ROLLBACK")
        monkeypatch.setattr(queue, "PATIENCE_SECONDS", patience_seconds)
        assert ledger.perform(command).recorded


def test_a_foreign_event_in_the_way_is_not_waited_for(
    database: Database, owner: psycopg.Connection[Any]
) -> None:
    """Another writer ignored the journal's lock. Only what its event makes unreadable is refused."""
    with running(database) as ledger:
        open_accounts(ledger, "a", "b", "c")
        ledger.perform(transfer("a", "b", 1))
        owner.execute("INSERT INTO events VALUES ('main/accounts/a', 3, 'account.foreign', '{}', 1000)")
        results = ledger.execute(*(transfer("a", "b", 1) for _ in range(3)), transfer("b", "c", 1)).result(10)
        refusals = [result for result in results if isinstance(result, JournalUnavailable)]
        assert [refusal.reason for refusal in refusals] == ["newer_version"] * 3
        assert isinstance(results[3], Outcome)


def test_a_ledger_that_was_never_started_can_be_closed(database: Database) -> None:
    LedgerApplication(database).close()


def test_a_damaged_snapshot_refuses_its_account_and_no_other(
    database: Database, owner: psycopg.Connection[Any]
) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b", "c")
    owner.execute("INSERT INTO snapshots VALUES ('main/accounts/a', 1, 'account.snapshot.1', '{}')")
    with running(database) as ledger:
        results = ledger.execute(transfer("a", "b", 1), transfer("c", "b", 1)).result(10)
        assert isinstance(results[0], JournalUnavailable) and results[0].reason == "unreadable"
        assert isinstance(results[1], Outcome)


@pytest.mark.parametrize("size", [3, 300], ids=["few", "many"])
def test_a_known_key_decided_ahead_is_judged_before_what_the_request_names(
    database: Database, size: int
) -> None:
    """Batches decided ahead assume that keys are new. A wrong answer from that must never be sent."""
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        first = ledger.perform(transfer("a", "b", 5, key="known"))
        batches = [[transfer("a", "b", 1) for _ in range(size)] for _ in range(3)]
        batches[1][size // 2] = transfer("a", "nobody", 5, key="known", fingerprint="another")
        batches[2][size // 2] = transfer("a", "b", 5, key="known")
        pending = [ledger.execute(*batch) for batch in batches]
        results = [future.result(30) for future in pending]
        assert isinstance(results[1][size // 2], IdempotencyKeyReused)
        assert results[2][size // 2] == first._replace(recorded=False, replayed=True)
        assert balances(ledger, "a", "b") == [-(5 + 3 * size - 2), 5 + 3 * size - 2]
    folded(history(database))


def test_what_comes_while_the_lock_is_awaited_joins_the_batch(
    database: Database, owner: psycopg.Connection[Any]
) -> None:
    batches: list[int] = []

    def awaits_lock() -> bool:
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = %s"
        return owner.execute(waiting, ["tallystick writer"]).rowcount > 0

    observing = LedgerApplication(
        database, observe=lambda commands, events, seconds: batches.append(commands)
    )
    with running(database) as other, observing as ledger:
        ledger.start()
        open_accounts(ledger, "a", "b")
        other.perform(transfer("a", "b", 1))
        ledger.perform(transfer("a", "b", 1))  # finds that somebody else writes, and decides under the lock
        with database.connect("tallystick test") as holder, holder.transaction():
            holder.execute("SELECT FROM head FOR UPDATE")
            began = len(batches)
            first = ledger.execute(transfer("a", "b", 10, key="first"))
            eventually(awaits_lock)
            later = [
                ledger.execute(transfer("b", "a", 4), transfer("a", "nobody", 5)),
                ledger.execute(transfer("a", "b", 10, key="first")),
                ledger.execute(transfer("a", "b", 7), all_or_none=True),
            ]
        (made,) = outcomes(first.result())
        (back, refused), (again,), (last,) = (future.result() for future in later)
        assert isinstance(refused, AccountNotFound)
        assert again == made._replace(recorded=False, replayed=True)
        assert [outcome.position for outcome in outcomes([back, last])] == [
            made.position + 3,
            made.position + 6,
        ]
        assert balances(ledger, "a", "b") == [-15, 15]
    assert batches[began:] == [5]
    folded(history(database))


def test_what_would_not_be_committed_by_itself_is_not_appended(database: Database) -> None:
    writer = JournalWriter(database, "tallystick test")
    rows = Rows(0, ["main/accounts/a"], [1], ["test.event"], [b"{}"], [WHOLE])
    values = rows.values("2026-01-01T00:00:00.000000Z")
    writer.lock(())
    with pytest.raises(AssertionError):
        writer.append(values)
    writer.release()
    assert writer.append(values)
    assert not writer.append(values)  # the head has moved
    writer.disconnect()
    with database.connect("tallystick test") as connection:
        stored = connection.execute("SELECT originator_id, notification_id FROM events").fetchall()
    assert stored == [("main/accounts/a", 1)]


def test_few_commands_are_committed_in_one_round_trip_where_nobody_else_writes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = 0
    lock = JournalWriter.lock

    def counting(self: JournalWriter, streams: Collection[str], missed: Span | None = None) -> Locked:
        nonlocal locked
        locked += 1
        return lock(self, streams, missed)

    monkeypatch.setattr(JournalWriter, "lock", counting)
    with running(database) as one, running(database) as other:
        open_accounts(one, "a", "b")
        open_accounts(other, "c")
        one.perform(transfer("a", "b", 1))  # finds that the head has moved
        before = locked
        for _ in range(pipeline.BATCHES_NOT_AHEAD_AFTER_A_MISS + 5):
            one.perform(transfer("a", "b", 1))
        assert 0 < locked - before < pipeline.BATCHES_NOT_AHEAD_AFTER_A_MISS
        before = locked
        with pytest.raises(AccountNotFound):
            one.perform(transfer("a", "nobody", 1))
        other.perform(transfer("b", "c", 1))
        one.perform(transfer("a", "b", 1))
        assert locked > before
    folded(history(database))


def heavy(entries: int, key: str | None = None) -> PostTransaction:
    """A transfer in so many entries."""
    command = transfer("a", "b", 1, key=key)
    return replace(command, entries=command.entries * (entries // 2))


def test_a_queue_that_is_full_by_bytes_refuses_and_does_not_grow(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "MAX_WAITING_BYTES", 2_000_000)
    ledger = LedgerApplication(database)  # not started: what is submitted waits
    pending = [ledger.execute(heavy(1000)) for _ in range(8)]
    assert ledger.group_commit.is_full
    with pytest.raises(Overloaded):
        ledger.execute(heavy(1000))
    assert 2_000_000 <= ledger.group_commit.waiting_bytes < 2_300_000
    with pytest.raises(Overloaded):
        ledger.execute(transfer("a", "b", 1))
    ledger.start()
    for future in pending:
        future.result()
    assert ledger.group_commit.waiting_bytes == 0
    ledger.execute(heavy(1000)).result()
    ledger.close()


def test_what_waits_for_nobody_any_more_is_counted_until_it_is_let_go(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    goes_on.set()

    def decide_later(self: Pipeline, submissions: Any) -> None:
        assert goes_on.wait(60)

    monkeypatch.setattr(queue, "MAX_WAITING_BYTES", 1_000_000)
    monkeypatch.setattr(Pipeline, "decide", decide_later)
    monkeypatch.setattr(GroupCommit, "_reason", lambda self: None if goes_on.is_set() else "unreachable")
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        monkeypatch.setattr(queue, "PATIENCE_SECONDS", 0.1)
        goes_on.clear()
        ledger.execute(transfer("a", "b", 1))
        eventually(lambda: ledger.group_commit.waiting_commands == 0)
        for _ in range(4):
            (result,) = ledger.execute(heavy(1000)).result()
            # Who asked has its answer, and what was asked for still takes memory.
            assert isinstance(result, JournalUnavailable)
        with pytest.raises(Overloaded):
            ledger.execute(heavy(1000))
        assert 1_000_000 <= ledger.group_commit.waiting_bytes < 1_300_000
        goes_on.set()
        eventually(lambda: ledger.group_commit.waiting_bytes == 0)
        monkeypatch.setattr(queue, "PATIENCE_SECONDS", 60.0)
        outcomes(ledger.execute(transfer("a", "b", 1)).result())


@pytest.mark.parametrize("commands", [2, 2_500])
def test_nothing_is_counted_once_all_is_answered(database: Database, commands: int) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        outcomes(ledger.execute(*(transfer("a", "b", 1) for _ in range(commands))).result())
        assert ledger.group_commit.waiting_bytes == 0
