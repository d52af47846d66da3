"""Submissions on a real journal: all or none, dry runs, and commands that name things made just before them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import psycopg
import pytest
from msgspec.structs import fields, replace

from domain.application import LedgerApplication
from domain.commit import loading, queue
from domain.commit.decider import Decider, Result
from domain.commit.pipeline import Ahead, Pipeline
from domain.journal.database import Database
from domain.model.accounts import ChangeStatus
from domain.model.commands import Command, Outcome
from domain.model.entries import Entry
from domain.model.errors import (
    AccountNotFound,
    BatchRejected,
    IdempotencyKeyReused,
    LedgerError,
    LedgerNotFound,
    OperationUnknown,
    TransactionNotFound,
    UnbalancedTransaction,
)
from domain.model.events import Event
from domain.model.holds import ExpireHold
from domain.model.idempotency import operation_id
from domain.model.postings import PostTransaction
from domain.model.times import Instant
from domain.model.transactions import Expired, Settled, Voided
from tests.ledgers import CONTEXT, folded, history, open_accounts, outcomes, running, transfer
from tests.projecting import cut
from tests.unit.given_when_then import a_hold, a_reversal, a_settlement, a_void, credit, debit

pytestmark = pytest.mark.integration

EARLY: Instant = "2026-01-01T00:00:00.000000Z"


def amounts(ledger: LedgerApplication, *addresses: str) -> list[tuple[int, int]]:
    """The balance and the pending amount of each account."""
    accounts = [ledger.account("main", address)[0] for address in addresses]
    return [(account.balance, account.pending_debits + account.pending_credits) for account in accounts]


def hold(amount: int, key: str = "hold", expires_at: Instant | None = None) -> PostTransaction:
    return a_hold(debit("a", amount), credit("b", amount), key=key, expires_at=expires_at)


def unbalanced() -> PostTransaction:
    entries = (
        Entry(account="a", direction="debit", amount=1),
        Entry(account="b", direction="credit", amount=2),
    )
    return replace(transfer("a", "b", 1), entries=entries)


def rejected(results: Sequence[Result], index: int, cause: type[LedgerError] | str) -> BatchRejected:
    """The single reason why none of the items was carried out. A rule is named by its code."""
    first = results[0]
    assert isinstance(first, BatchRejected) and all(result is first for result in results)
    assert first.index == index
    if isinstance(cause, str):
        assert isinstance(first.cause, Outcome) and first.cause.state.rejection.code == cause
    else:
        assert type(first.cause) is cause
    return first


class Faulty(PostTransaction):
    """A command that raises an unexpected exception."""

    def decide(self, *_: object) -> Any:
        raise ZeroDivisionError


def faulty() -> Faulty:
    sound = transfer("a", "b", 1)
    return Faulty(*(getattr(sound, field.name) for field in fields(sound)))


FAILING: list[tuple[Callable[[], Command], type[LedgerError] | str]] = [
    (lambda: transfer("a", "nobody", 1), AccountNotFound),
    (unbalanced, UnbalancedTransaction),
    (lambda: transfer("a", "b", 1, book="other"), LedgerNotFound),
    (lambda: a_void("unknown"), TransactionNotFound),
    (lambda: transfer("a", "b", 3, key="used", fingerprint="other"), IdempotencyKeyReused),
    (lambda: transfer("poor", "b", 1), "insufficient_funds"),
    (lambda: transfer("poor", "b", 7, key="refused"), "insufficient_funds"),  # a replay of a refusal
    (lambda: a_settlement("used"), "hold_not_pending"),
]


class TestAllOrNone:
    @pytest.mark.parametrize(("failing", "cause"), FAILING)
    @pytest.mark.parametrize("index", [0, 2])
    def test_the_first_item_that_fails_undoes_all(
        self,
        database: Database,
        failing: Callable[[], Command],
        cause: type[LedgerError] | str,
        index: int,
    ) -> None:
        with running(database) as ledger:
            open_accounts(ledger, "a", "b")
            open_accounts(ledger, "poor", minimum=0)
            ledger.perform(transfer("a", "b", 3, key="used"))
            ledger.perform(transfer("poor", "b", 7, key="refused"))
            head = ledger.head()
            items: list[Command] = [transfer("a", "b", n, key=f"item-{n}") for n in range(1, 4)]
            items.insert(index, failing())
            refusal = rejected(ledger.execute(*items, all_or_none=True).result(), index, cause)
            assert refusal.position == head == ledger.head()
            inner = refusal.cause.position
            assert inner is not None and inner <= head
            assert amounts(ledger, "a", "b") == [(-3, 0), (3, 0)]
            with pytest.raises(OperationUnknown):
                ledger.operation("main", "item-1")
            keys_are_free = outcomes(ledger.execute(*(items[:index] + items[index + 1 :])).result())
            assert all(outcome.recorded for outcome in keys_are_free)
        folded(history(database))

    def test_all_are_recorded_when_none_fails(self, database: Database) -> None:
        with running(database) as ledger:
            open_accounts(ledger, "a", "b")
            first = ledger.perform(transfer("a", "b", 1, key="k1"))
            items = [transfer("a", "b", n, key=f"k{n}") for n in range(1, 4)]
            results = outcomes(ledger.execute(*items, all_or_none=True).result())
            assert results[0] == first._replace(recorded=False, replayed=True)
            assert [result.position for result in results[1:]] == [first.position + 3, first.position + 6]
            again = outcomes(ledger.execute(*items, all_or_none=True).result())
            assert again == [result._replace(recorded=False, replayed=True) for result in results]
        folded(history(database))

    def test_later_submissions_of_the_same_batch_see_none_of_it(self, database: Database) -> None:
        with running(database) as ledger:
            open_accounts(ledger, "a")
            open_accounts(ledger, "b", minimum=0)
        ledger = LedgerApplication(database)  # not started, so submissions wait and are decided together
        undone = ledger.execute(
            transfer("a", "b", 5, key="undone"), hold(4), transfer("b", "nobody", 1), all_or_none=True
        )
        # If the first submission were kept, b would have the funds, the key would be in use and the hold would exist.
        after = ledger.execute(
            transfer("b", "a", 5), a_settlement(), transfer("a", "b", 2, key="undone", fingerprint="other")
        )
        kept = ledger.execute(transfer("a", "b", 1), hold(3), a_settlement(amount=2), all_or_none=True)
        last = ledger.execute(transfer("b", "a", 5))
        ledger.start()
        rejected(undone.result(), 2, AccountNotFound)
        spent, settled, other = after.result()
        assert isinstance(spent, Outcome) and spent.state.status == "rejected"
        assert isinstance(settled, TransactionNotFound)
        assert isinstance(other, Outcome) and other.recorded and other.state.status == "posted"
        assert [result.state.status for result in outcomes(kept.result())] == ["posted", "pending", "posted"]
        assert outcomes(last.result())[0].state.status == "posted"
        assert amounts(ledger, "a", "b") == [(0, 0), (0, 0)]
        ledger.close()
        folded(history(database))

    def test_a_fault_of_ours_undoes_its_submission_alone(self, database: Database) -> None:
        with running(database) as ledger:
            open_accounts(ledger, "a", "b")
        ledger = LedgerApplication(database)
        before = ledger.execute(transfer("a", "b", 1))
        torn = ledger.execute(transfer("a", "b", 5), faulty(), all_or_none=True)
        after = ledger.execute(transfer("a", "b", 2))
        ledger.start()
        assert [type(result) for result in torn.result()] == [ZeroDivisionError] * 2
        outcomes([*before.result(), *after.result()])
        assert amounts(ledger, "a", "b") == [(-3, 0), (3, 0)]
        ledger.close()
        folded(history(database))

    def test_what_the_database_refuses_undoes_its_submission_alone(self, database: Database) -> None:
        with running(database) as ledger:
            open_accounts(ledger, "a", "b")
            nul = transfer("a", "no text of PostgreSQL holds a \x00", 3)
            torn = ledger.execute(transfer("a", "b", 5), nul, all_or_none=True).result()
            assert all(isinstance(result, psycopg.DataError) for result in torn)
            ledger.perform(transfer("a", "b", 1))
            assert amounts(ledger, "a", "b") == [(-1, 0), (1, 0)]
        folded(history(database))


class TestDryRun:
    def test_it_answers_as_it_would_and_records_nothing(self, database: Database) -> None:
        with running(database) as ledger:
            open_accounts(ledger, "a", "b")
            head = ledger.head()
            items: list[Command] = [
                transfer("a", "b", 5, key="k"),
                hold(7),
                a_settlement(amount=3),
                a_reversal("k"),
            ]
            results = outcomes(ledger.execute(*items, dry_run=True).result())
            assert [result.state.status for result in results] == ["posted", "pending", "posted", "posted"]
            assert [result.state.id for result in results] == [
                operation_id("main", key) for key in ("k", "hold", "settlement", "reversal")
            ]
            assert [result.state.entries[0].balance_after for result in (results[0], results[2])] == [-5, -8]
            assert {(result.recorded, result.replayed, result.position) for result in results} == {
                (False, False, head)
            }
            assert ledger.head() == head and amounts(ledger, "a", "b") == [(0, 0), (0, 0)]
            with pytest.raises(OperationUnknown):
                ledger.operation("main", "k")
            recorded = outcomes(ledger.execute(*items).result())
            assert all(result.recorded for result in recorded)
            assert [result.state.id for result in recorded] == [result.state.id for result in results]
        folded(history(database))

    def test_no_answer_names_a_position_that_the_journal_has_not(self, database: Database) -> None:
        """A client that waits for the position it was given must not wait for ever."""
        with running(database) as ledger:
            open_accounts(ledger, "a", "b")
            head = ledger.head()
            posting = transfer("a", "b", 5, key="k")
            again = replace(posting)
            other = transfer("a", "b", 6, key="k", fingerprint="other")
            results = ledger.execute(posting, again, other, unbalanced(), dry_run=True).result()
            assert [type(result) for result in results] == [
                Outcome,
                Outcome,
                IdempotencyKeyReused,
                UnbalancedTransaction,
            ]
            assert isinstance(results[1], Outcome) and results[1].replayed
            assert [result.position for result in results] == [head] * 4  # type: ignore[union-attr]
        folded(history(database))

    def test_replays_stay_replays(self, database: Database) -> None:
        with running(database) as ledger:
            open_accounts(ledger, "a", "b")
            first = ledger.perform(hold(5))
            ledger.perform(a_void())
            (again,) = outcomes(ledger.execute(hold(5), dry_run=True).result())
            assert again == first._replace(recorded=False, replayed=True)

    def test_a_refusal_by_a_rule_is_not_recorded(self, database: Database) -> None:
        with running(database) as ledger:
            open_accounts(ledger, "poor", minimum=0)
            open_accounts(ledger, "b")
            head = ledger.head()
            (refused,) = outcomes(ledger.execute(transfer("poor", "b", 5, key="k"), dry_run=True).result())
            assert refused.is_refused and (refused.recorded, refused.position) == (False, head)
            ledger.perform(transfer("b", "poor", 5))
            assert ledger.perform(transfer("poor", "b", 5, key="k")).state.status == "posted"
        folded(history(database))

    @pytest.mark.parametrize("fails", [False, True])
    def test_all_or_none_may_be_tried_too(self, database: Database, fails: bool) -> None:
        with running(database) as ledger:
            open_accounts(ledger, "a", "b")
            head = ledger.head()
            items = [transfer("a", "b", 5), transfer("a", "nobody" if fails else "b", 5)]
            results = ledger.execute(*items, all_or_none=True, dry_run=True).result()
            if fails:
                assert rejected(results, 1, AccountNotFound).position == head
            else:
                assert [result.position for result in outcomes(results)] == [head, head]
            assert ledger.head() == head

    def test_what_comes_after_it_in_the_batch_sees_none_of_it(self, database: Database) -> None:
        with running(database) as ledger:
            open_accounts(ledger, "a", "b")
        ledger = LedgerApplication(database)
        tried = ledger.execute(hold(5), dry_run=True)
        after = ledger.execute(a_void(), transfer("a", "b", 1))
        ledger.start()
        assert outcomes(tried.result())[0].state.status == "pending"
        missing, posted = after.result()
        assert isinstance(missing, TransactionNotFound)
        assert isinstance(posted, Outcome) and posted.position == ledger.head() == len(history(database))
        ledger.close()
        folded(history(database))


class TestWhatWasMadeJustBefore:
    def requests(self) -> list[Command]:
        """A hold settled, its settlement reversed, another voided, a posting reversed. Each names something made before
        it.
        """
        return [
            hold(10),
            a_settlement(amount=6),
            a_reversal("settlement", amount=2, key="part"),
            hold(20, "second"),
            a_void("second"),
            transfer("a", "b", 5, key="posting"),
            a_reversal("posting", key="whole"),
            a_reversal("settlement", key="rest"),
        ]

    STATUSES = ("pending", "posted", "posted", "pending", "posted", "posted", "posted", "posted")

    @pytest.mark.parametrize("all_or_none", [False, True])
    def test_in_the_same_submission(self, database: Database, all_or_none: bool) -> None:
        with running(database) as ledger:
            open_accounts(ledger, "a", "b")
            results = outcomes(ledger.execute(*self.requests(), all_or_none=all_or_none).result())
            assert tuple(result.state.status for result in results) == self.STATUSES
            assert amounts(ledger, "a", "b") == [(0, 0), (0, 0)]
            again = outcomes(ledger.execute(*self.requests(), all_or_none=all_or_none).result())
            assert again == [result._replace(recorded=False, replayed=True) for result in results]
        folded(history(database))

    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_in_batches_decided_ahead_of_each_other(
        self, database: Database, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        monkeypatch.setattr(queue, "MAX_BATCH_COMMANDS", size)
        monkeypatch.setattr(queue, "MIN_COMMANDS_MEANWHILE", 1)
        with running(database) as ledger:
            open_accounts(ledger, "a", "b")
        batches_ahead = 0
        commit_ahead = Pipeline.commit

        def counting(self: Pipeline, ahead: Ahead) -> None:
            nonlocal batches_ahead
            commit_ahead(self, ahead)
            batches_ahead += 1

        monkeypatch.setattr(Pipeline, "commit", counting)
        ledger = LedgerApplication(
            database
        )  # not started, so everything waits and each batch is decided while the last commits
        first = ledger.execute(transfer("b", "a", 1), transfer("a", "b", 1))
        pending = [ledger.execute(request) for request in self.requests()]
        ledger.start()
        outcomes(first.result())
        results = outcomes([result for future in pending for result in future.result()])
        assert tuple(result.state.status for result in results) == self.STATUSES
        assert amounts(ledger, "a", "b") == [(0, 0), (0, 0)]
        for result in results:
            assert ledger.transaction("main", result.state.id)[0].as_first_answered() == result.state
        ledger.close()
        assert batches_ahead >= len(pending) // size
        folded(history(database))

    def test_an_atomic_submission_that_fails_is_not_seen_by_those_decided_ahead(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(queue, "MAX_BATCH_COMMANDS", 2)
        monkeypatch.setattr(queue, "MIN_COMMANDS_MEANWHILE", 1)
        with running(database) as ledger:
            open_accounts(ledger, "a", "b")
        ledger = LedgerApplication(database)
        first = ledger.execute(transfer("a", "b", 1), transfer("a", "b", 1))
        made = ledger.execute(hold(10))
        undone = ledger.execute(a_settlement(), a_settlement(key="twice"), all_or_none=True)
        void = ledger.execute(a_void())
        ledger.start()
        outcomes([*first.result(), *made.result()])
        rejected(undone.result(), 1, "hold_not_pending")
        assert outcomes(void.result())[0].state.status == "posted"
        assert amounts(ledger, "a", "b") == [(-2, 0), (2, 0)]
        ledger.close()
        folded(history(database))


def ends(database: Database, hold_key: str) -> list[Event]:
    """The events by which a hold ended."""
    stream = f"main/transactions/{operation_id('main', hold_key)}"
    return [
        recorded.event
        for recorded in history(database)
        if recorded.stream == stream and isinstance(recorded.event, Settled | Voided | Expired)
    ]


class TestRaces:
    ROUNDS = 20

    def test_a_hold_is_settled_by_one_process_or_voided_by_the_other(self, database: Database) -> None:
        with running(database) as one, running(database) as other, ThreadPoolExecutor(2) as threads:
            open_accounts(one, "a", "b")
            settled = 0
            for n in range(self.ROUNDS):
                one.perform(hold(10, f"hold-{n}"))
                together = Barrier(2)

                def end(ledger: LedgerApplication, command: Command, together: Barrier = together) -> Outcome:
                    together.wait()
                    return ledger.perform(command)

                results = [
                    threads.submit(end, one, a_settlement(f"hold-{n}", key=f"settle-{n}")),
                    threads.submit(end, other, a_void(f"hold-{n}", key=f"void-{n}")),
                ]
                states = [result.result().state for result in results]
                assert sorted(state.status for state in states) == ["posted", "rejected"]
                (loser,) = (state for state in states if state.rejection)
                assert loser.rejection.code == "hold_not_pending"
                settled += states[0].status == "posted"
                assert len(ends(database, f"hold-{n}")) == 1
            assert amounts(one, "a", "b") == amounts(other, "a", "b")
            assert amounts(one, "a", "b") == [(-10 * settled, 0), (10 * settled, 0)]
        folded(history(database))

    def test_a_hold_expires_or_is_settled(self, database: Database) -> None:
        """Two processes with different clocks: for one the hold is over, for the other not yet."""
        ahead = [EARLY]
        fast, slow = (
            LedgerApplication(database, lambda: ahead[-1]),
            LedgerApplication(database, lambda: EARLY),
        )
        for ledger in (fast, slow):
            ledger.start()
        with ThreadPoolExecutor(2) as threads:
            open_accounts(slow, "a", "b")
            settled = 0
            for n in range(self.ROUNDS):
                key = f"hold-{n}"
                expires_at = f"2026-01-01T{n + 2:02}:00:00.000000Z"
                slow.perform(hold(10, key, expires_at))
                together = Barrier(2)

                def end(ledger: LedgerApplication, command: Command, together: Barrier = together) -> Outcome:
                    together.wait()
                    return ledger.perform(command)

                ahead.append(expires_at)
                expiry = threads.submit(end, fast, ExpireHold(CONTEXT, "main", operation_id("main", key)))
                settlement = threads.submit(end, slow, a_settlement(key, key=f"settle-{n}"))
                expired = expiry.result().recorded
                state = settlement.result().state
                assert expired == (state.status == "rejected")
                if expired:
                    assert state.rejection.code == "hold_expired"
                settled += not expired
                assert len(ends(database, key)) == 1
                assert not fast.perform(ExpireHold(CONTEXT, "main", operation_id("main", key))).recorded
            assert amounts(fast, "a", "b") == amounts(slow, "a", "b")
            assert amounts(fast, "a", "b") == [(-10 * settled, 0), (10 * settled, 0)]
        for ledger in (fast, slow):
            ledger.close()
        folded(history(database))

    def test_a_frozen_account_is_frozen_for_both(self, database: Database) -> None:
        with running(database) as one, running(database) as other:
            open_accounts(one, "a", "b")
            one.perform(hold(10))
            other.perform(ChangeStatus(CONTEXT, "main", "a", "frozen"))
            assert one.perform(a_settlement()).state.rejection.code == "account_frozen"
            assert one.perform(a_void()).state.status == "posted"
            assert amounts(other, "a", "b") == [(0, 0), (0, 0)]


class TestVeryMany:
    def test_parts_are_decided_in_order_and_others_come_between(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(queue, "MAX_BATCH_COMMANDS", 3)
        with running(database) as ledger:
            open_accounts(ledger, "a", "b")
        with LedgerApplication(database) as ledger:  # not started, so submissions wait
            items: list[Command] = [
                hold(5),
                *(transfer("a", "b", 1, key=f"k{n}") for n in range(40)),
                a_settlement("hold"),
            ]
            together = ledger.execute(*items)
            alone = ledger.execute(transfer("a", "b", 1, key="alone"))
            assert ledger.group_commit.waiting_commands == len(items) + 1
            ledger.start()
            results = outcomes(together.result())
            assert [result.state.idempotency_key for result in results[:-1]] == [
                "hold",
                *(f"k{n}" for n in range(40)),
            ]
            assert results[-1].state.related.settles == operation_id("main", "hold")
            positions = [result.position for result in results]
            assert positions == sorted(positions)
            assert positions[5] < outcomes(alone.result())[0].position < positions[6]
            assert ledger.group_commit.waiting_commands == 0
            again = outcomes(ledger.execute(*items).result())
            assert [result.position for result in again] == positions
            assert all(result.replayed for result in again)
            assert amounts(ledger, "a", "b") == [(-46, 0), (46, 0)]
        folded(history(database))

    def test_all_or_none_and_as_if_are_not_divided(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(queue, "MAX_BATCH_COMMANDS", 3)
        with running(database) as ledger:
            open_accounts(ledger, "a", "b")
            items = [*(transfer("a", "b", 1, key=f"k{n}") for n in range(9)), transfer("a", "nobody", 1)]
            rejected(ledger.execute(*items, all_or_none=True).result(), 9, AccountNotFound)
            results = ledger.execute(*items, dry_run=True).result()
            assert [isinstance(result, Outcome) for result in results] == [True] * 9 + [False]
            assert amounts(ledger, "a", "b") == [(0, 0), (0, 0)]


def test_a_reader_cut_off_while_deciding_ahead_leaves_nothing_stale(
    database: Database, owner: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was loaded ahead may be newer than this writer's cache. Catching up must not apply it twice."""
    following_streams = Decider.following_streams
    cuts = (
        0  # the connection is cut once, between the streams the commands name and those that follow from them
    )

    def follow_and_be_cut(self: Decider, commands: Sequence[Command]) -> set[str]:
        nonlocal cuts
        if cuts == 0:
            cuts += cut(owner, "tallystick reader ahead")
        return following_streams(self, commands)

    with running(database) as one, running(database) as other:
        open_accounts(one, "a", "b", "c")
        other.perform(a_hold(debit("a", 10), credit("b", 10)))
    monkeypatch.setattr(loading, "RECENT_EVENTS", 0)
    with running(database) as one, running(database) as other:
        one.perform(transfer("c", "c", 1))  # it knows the journal's position, and neither a nor b
        other.perform(transfer("a", "b", 5))
        monkeypatch.setattr(queue, "MIN_COMMANDS_MEANWHILE", 1)
        monkeypatch.setattr(Decider, "following_streams", follow_and_be_cut)
        # The first needs `a` at once. The second learns of `b` from the hold it names.
        results = outcomes(one.execute(transfer("a", "c", 1), a_settlement()).result())
        assert cuts == 1
        assert [result.state.status for result in results] == ["posted", "posted"]
        assert [entry.balance_after for entry in results[0].state.entries] == [-6, 1]
        assert amounts(one, "a", "b", "c") == [(-16, 0), (15, 0), (1, 0)]
        assert one.perform(transfer("a", "c", 1)).state.entries[0].balance_after == -17
    folded(history(database))
