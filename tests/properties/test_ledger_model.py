"""The ledger and a model of api/README.md give the same answers to any requests, alone or together, and books hold."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from domain.commit.decider import Result
from domain.journal.snapshots import decode_snapshot, encode_snapshot
from domain.model.accounts import Account
from domain.model.commands import Outcome
from domain.model.entries import PostedEntry
from domain.model.errors import BatchRejected, LedgerError
from domain.model.events import Context, State
from domain.model.idempotency import operation_id
from domain.model.ledgers import Ledger
from domain.model.transactions import Acceptance, Transaction
from tests.properties import generated_requests as generated
from tests.properties import invariants
from tests.properties.book_model import AMOUNTS, Answer, Model, Shown
from tests.properties.generated_requests import ADDRESSES, BOOKS, Asked
from tests.properties.profiles import in_memory
from tests.properties.requests import Acceptances, OpenBook, Request, at, command_of
from tests.unit.journal_in_memory import JournalInMemory

pytestmark = pytest.mark.timeout(3600)  # the nightly profile takes long

CONTEXT = Context("someone", "conversation")


class LedgerMachine(RuleBasedStateMachine):
    """Sends each request to a journal in memory and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = JournalInMemory()
        self.model = Model()
        self.asked = Asked()
        self.acceptances = Acceptances()
        self.now = 0

    # Requests.

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        requests: list[Request] = [OpenBook(book, {}) for book in BOOKS]
        requests += [
            data.draw(generated.first_openings(book, address)) for book in BOOKS for address in ADDRESSES
        ]
        self.ask(requests)

    @rule(data=st.data())
    def one(self, data: st.DataObject) -> None:
        self.ask([self.asked.draw(data.draw, self.now)])

    @rule(data=st.data(), size=st.integers(2, 6))
    def some_together(self, data: st.DataObject, size: int) -> None:
        self.ask(self.several(data, size))

    @rule(data=st.data(), size=st.integers(1, 5))
    def all_or_none(self, data: st.DataObject, size: int) -> None:
        self.ask(self.several(data, size), all_or_none=True)

    @rule(data=st.data(), size=st.integers(1, 4), all_or_none=st.booleans())
    def dry_run(self, data: st.DataObject, size: int, all_or_none: bool) -> None:
        requests = self.several(data, size)
        self.ask(requests, all_or_none=all_or_none, dry_run=True)
        if data.draw(st.booleans()):
            self.ask(requests, all_or_none=all_or_none)
        else:
            for request in requests:
                self.asked.forget(request)

    @rule(wait=generated.waits)
    def time_passes(self, wait: int) -> None:
        self.now += wait

    def several(self, data: st.DataObject, size: int) -> list[Request]:
        return [self.asked.draw(data.draw, self.now) for _ in range(size)]

    # Comparison of answers.

    def ask(self, requests: Sequence[Request], all_or_none: bool = False, dry_run: bool = False) -> None:
        self.now += 1
        head = self.journal.head
        requests = self.acceptances.possible(requests)
        commands = [command_of(request, CONTEXT, self.acceptances) for request in requests]
        results = self.journal.execute(commands, at(self.now), all_or_none=all_or_none, dry_run=dry_run)
        answers, failed = self.model.submit(requests, self.now, all_or_none, dry_run)
        nothing_kept = dry_run or failed is not None
        if failed is None:
            for request, answer, result in zip(requests, answers, results, strict=True):
                self.compare(request, answer, result, head if nothing_kept else None)
        else:
            (rejected,) = set(results)
            assert isinstance(rejected, BatchRejected)
            assert (rejected.index, rejected.position) == (failed, head)
            self.compare(requests[failed], answers[failed], rejected.cause, head)
        if not dry_run:
            for request, result in zip(requests, results, strict=True):
                self.asked.answered(request, result)
                self.acceptances.note(result)
        streams = [recorded.stream for recorded in self.journal.recorded[head:]]
        expected = [stream for answer in answers for stream in answer.touched]
        assert streams == ([] if nothing_kept else [stream_of(stream) for stream in expected])

    def compare(self, request: Request, answer: Answer, result: Result, unrecorded_at: int | None) -> None:
        """Assert that the ledger's result is the model's answer. `unrecorded_at` is the head if nothing may be kept."""
        event(f"{type(request).__name__}: {answer.code or kind_of(answer)}")
        if not isinstance(result, Outcome):
            assert isinstance(result, LedgerError), result
            assert result.code == answer.code
            assert unrecorded_at is None or result.position == unrecorded_at
            return
        assert answer.code is None and answer.shown is not None
        assert shown(result.state, request.book) == ids_for_keys(answer.shown, request.book)
        assert (result.replayed, result.is_refused) == (answer.replayed, answer.is_refused)
        assert result.recorded == (bool(answer.touched) and unrecorded_at is None)
        if unrecorded_at is not None:
            replayed_at = answer.shown["position"] if answer.replayed else unrecorded_at
            assert result.position == min(replayed_at, unrecorded_at)
        elif answer.replayed or result.recorded:
            assert result.position == answer.shown["position"]

    # Invariants after each step.

    @invariant()
    def what_is_shown_is_what_the_model_shows(self) -> None:
        states = self.journal.states
        assert self.journal.head == self.model.head
        for book in self.model.books:
            assert shown(states[f"{book}/ledger"], book) == self.model.books[book]
        for book, address in self.model.accounts:
            state = states[f"{book}/accounts/{address}"]
            assert shown(state, book) == self.model.account(book, address)
            assert decode_snapshot(encode_snapshot(state)) == state
        for (book, key), made in self.model.made.items():
            state = states[f"{book}/transactions/{operation_id(book, key)}"]
            assert shown(state, book) == ids_for_keys(made, book)

    def teardown(self) -> None:
        invariants.check(self.journal.recorded, self.journal.states)


def kind_of(answer: Answer) -> str:
    shown = answer.shown or {}
    what = shown.get("rejection") or shown.get("kind") or shown.get("status", "shown")
    return f"{what}, again" if answer.replayed else what


def stream_of(stream: str) -> str:
    """The stream of the thing that the model names by its key."""
    book, kind, name = f"{stream}//".split("/")[:3]
    return f"{book}/{kind}/{operation_id(book, name)}" if kind == "transactions" else stream


def ids_for_keys(shown: Shown, book: str) -> Shown:
    """The model's answer, with ids in place of the keys of related transactions."""
    if "reversed_by" not in shown:
        return shown
    related = {
        name: shown[name] and operation_id(book, shown[name])
        for name in ("settles", "voids", "reverses", "settled_by", "voided_by")
    }
    return {**shown, **related, "reversed_by": tuple(operation_id(book, key) for key in shown["reversed_by"])}


def shown(state: State, book: str) -> Shown:
    """What a read of an aggregate shows, in the words of the model."""
    versions = {"version": state.version, "position": state.position}
    match state:
        case Ledger():
            assert state.name == book
            return {"notes": state.metadata, **versions}
        case Account():
            return _shown_account(state) | versions
        case Acceptance():
            assert (state.ledger, state.id) == (book, operation_id(book, state.idempotency_key))
            return {"key": state.idempotency_key, "status": "accepted", **versions}
        case Transaction():
            assert (state.ledger, state.id) == (book, operation_id(book, state.idempotency_key))
            return _shown_transaction(state) | versions
    raise AssertionError(state)


def _shown_account(account: Account) -> Shown:
    return {
        "book": account.ledger,
        "address": account.address,
        "asset": account.asset,
        "side": account.normal_side,
        "status": account.status,
        "floor": account.min_balance,
        "ceiling": account.max_balance,
        "notes": account.metadata,
        "posted": (account.posted_debits, account.posted_credits),
        "pending": (account.pending_debits, account.pending_credits),
        "balance": account.balance,
        "available": account.available,
    }


def _shown_transaction(transaction: Transaction) -> Shown:
    entries: Sequence[Any] = transaction.entries
    is_posted = all(isinstance(entry, PostedEntry) for entry in entries)
    return {
        "key": transaction.idempotency_key,
        "kind": transaction.kind,
        "status": transaction.status,
        "legs": tuple((entry.account, entry.direction, entry.amount) for entry in entries),
        "after": tuple(entry.balance_after for entry in entries) if is_posted else None,
        "recorded": _time(transaction.recorded_at),
        "effective": _time(transaction.effective_at),
        "expires": transaction.expires_at and _time(transaction.expires_at),
        "reference": transaction.reference,
        "rejection": transaction.rejection and transaction.rejection.code,
        "about": _named(transaction),
        **transaction.related._asdict(),
    }


def _named(transaction: Transaction) -> Shown | None:
    """What a refusal of an amount names. Each names something."""
    if transaction.rejection is None:
        return None
    code, words, details = transaction.rejection
    assert details and words
    return dict(details) if code in AMOUNTS else None


def _time(instant: str) -> int:
    time = int(instant[20:26])
    assert at(time) == instant
    return time


LedgerMachine.TestCase.settings = in_memory()
TestLedger = LedgerMachine.TestCase
