"""Any sequence of commands, decided by the ledger and by a model of the contract: they agree, and the books hold."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from domain.accounts import Account, AccountOpened, ChangeAccount, EntriesPosted, OpenAccount
from domain.addresses import account_stream
from domain.aggregates import fold
from domain.commands import Command, Outcome
from domain.entries import Entry
from domain.errors import LedgerError
from domain.events import Context, Recorded, State
from domain.journal.encoding import decode, encode_envelope, encode_event
from domain.journal.snapshots import decode_snapshot, encode_snapshot
from domain.ledgers import Ledger, OpenLedger
from domain.money import MAX_AMOUNT
from domain.operations import Operation, operation_id
from domain.postings import PostTransaction
from domain.transactions import Description, Transaction
from tests.properties import generated_commands as generated
from tests.properties.book_model import Book, Leg
from tests.properties.profiles import in_memory
from tests.unit.journal_in_memory import JournalInMemory

pytestmark = pytest.mark.timeout(1800)  # the nightly profile takes its time

CONTEXT = Context("someone", "conversation")
books = st.sampled_from(["main", "other", "late"])


class LedgerMachine(RuleBasedStateMachine):
    """Drives commands into a journal in memory, and the same requests into the model."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.journal = JournalInMemory()
        self.models: dict[str, Book] = {}
        self.clock = 0
        self.verified = 0
        self.first_answers: dict[tuple[str, str], Transaction] = {}
        self.refolded: dict[str, State] = {}

    def perform(self, command: Command) -> Outcome | str:
        """Return the outcome, or the code of the refusal; a refusal leaves nothing behind."""
        self.clock += 1
        before = self.journal.head
        try:
            return self.journal.perform(command, f"2026-11-23T20:00:00.{self.clock:06}Z")
        except LedgerError as refusal:
            assert self.journal.head == before
            return refusal.code

    # What people ask.

    @initialize(
        target=keys,
        openings=st.lists(
            generated.openings(), min_size=len(generated.ADDRESSES), max_size=len(generated.ADDRESSES)
        ),
        legs=generated.legs,
    )
    def begin_with_accounts_and_a_posting(self, openings: list[tuple[Any, ...]], legs: list[Leg]) -> Any:
        for book in ("main", "other"):
            self.open_ledger(book)
            for address, opening in zip(generated.ADDRESSES, openings, strict=True):
                self.open_account(book, address, opening)
        return self.post("main", legs)

    @rule(book=books)
    def open_ledger(self, book: str) -> None:
        outcome = self.perform(OpenLedger(CONTEXT, book, {"name": book}))
        assert isinstance(outcome, Outcome) and isinstance(outcome.state, Ledger)
        assert outcome.recorded == (book not in self.models)
        self.models.setdefault(book, Book())

    @rule(book=books, address=generated.addresses, opening=generated.openings())
    def open_account(self, book: str, address: str, opening: tuple[Any, ...]) -> None:
        asset, side, minimum, maximum, metadata = opening
        opened = AccountOpened(
            asset=asset, normal_side=side, min_balance=minimum, max_balance=maximum, metadata=metadata
        )
        outcome = self.perform(OpenAccount(CONTEXT, book, address, opened))
        expected = self.models[book].open(address, opening) if book in self.models else "ledger_not_found"
        if expected in ("opened", "unchanged"):
            assert isinstance(outcome, Outcome) and outcome.recorded == (expected == "opened")
        else:
            assert outcome == expected

    @rule(
        book=books,
        address=generated.addresses,
        changes=st.fixed_dictionaries(
            {}, optional={"floor": generated.limits, "ceiling": generated.limits, "notes": generated.metadata}
        ),
    )
    def change_account(self, book: str, address: str, changes: dict[str, Any]) -> None:
        names = {"floor": "min_balance", "ceiling": "max_balance", "notes": "metadata"}
        command = ChangeAccount(
            CONTEXT, book, address, **{names[name]: value for name, value in changes.items()}
        )
        outcome = self.perform(command)
        known = book in self.models
        expected = self.models[book].change(address, **changes) if known else "ledger_not_found"
        if expected in ("changed", "unchanged"):
            assert isinstance(outcome, Outcome) and outcome.recorded == (expected == "changed")
        else:
            assert outcome == expected

    @rule(book=books, address=generated.addresses, ahead=st.integers(-1, 1))
    def change_account_if_unchanged(self, book: str, address: str, ahead: int) -> None:
        account = self.journal.states.get(account_stream(book, address))
        version = account.version + ahead if account else 1
        outcome = self.perform(ChangeAccount(CONTEXT, book, address, if_version=version))
        if account is None:
            assert outcome == ("account_not_found" if book in self.models else "ledger_not_found")
        elif ahead:
            assert outcome == "version_mismatch"
        else:
            assert isinstance(outcome, Outcome) and not outcome.recorded

    @rule(target=keys, book=books, legs=generated.legs)
    def post(self, book: str, legs: list[Leg]) -> Any:
        request = (book, f"key-{self.clock}", legs)
        if book not in self.models:
            assert self.perform(self.posting(*request)) == "ledger_not_found"
            return multiple()
        self.agree(*request)
        return request

    @rule(request=keys)
    def post_again(self, request: tuple[str, str, list[Leg]]) -> None:
        """The same request: a replay, or if nothing was kept of it, a first attempt."""
        self.agree(*request)

    @rule(target=keys, request=consumes(keys), legs=generated.legs)
    def post_something_else_under_a_known_key(
        self, request: tuple[str, str, list[Leg]], legs: list[Leg]
    ) -> Any:
        book, key, _ = request
        self.agree(book, key, legs)
        return book, key, legs

    def posting(self, book: str, key: str, legs: list[Leg]) -> PostTransaction:
        operation = Operation(key, operation_id(book, key), repr(legs))
        entries = tuple(
            Entry.model_validate({"account": address, "direction": direction, "amount": amount})
            for address, direction, amount in legs
        )
        return PostTransaction(CONTEXT, book, operation, Description(), entries)

    def agree(self, book: str, key: str, legs: list[Leg]) -> None:
        """The ledger answers as the model does, and a known key as it did the first time."""
        model, entries_before = self.models[book], len(self.models[book].posted)
        known = key in model.answers
        expected = model.post(key, repr(legs), legs)
        outcome = self.perform(self.posting(book, key, legs))
        event(f"{'known' if known else 'new'} key: {expected}")
        if not isinstance(outcome, Outcome):
            assert outcome == expected
            return
        transaction = outcome.state
        assert isinstance(transaction, Transaction)
        assert expected == (transaction.rejection.code if transaction.rejection else "posted")
        assert outcome.replayed == known and outcome.recorded == (not known)
        assert transaction == self.first_answers.setdefault((book, key), transaction)
        if not known and expected == "posted":
            self.running_balances_agree(model, transaction, entries_before)

    def running_balances_agree(self, model: Book, transaction: Transaction, entries_before: int) -> None:
        for n, entry in enumerate(transaction.entries, start=1):
            so_far = Book(model.accounts, model.posted[: entries_before + n])
            assert entry.model_dump()["balance_after"] == so_far.balance(entry.account)

    # What is true after each of them.

    @invariant()
    def the_journal_explains_every_state(self) -> None:
        """No gaps, balanced at every position, no limit worsened; folded from the beginning it is the cache."""
        for recorded in self.journal.recorded[self.verified :]:
            known = self.refolded.get(recorded.stream)
            assert recorded.position == self.verified + 1
            assert recorded.version == (known.version + 1 if known else 1)
            self.refolded[recorded.stream] = fold(known, [recorded])
            self.no_limit_was_worsened(known, recorded)
            self.verified = recorded.position
            if isinstance(self.refolded[recorded.stream], Transaction):
                # A transaction's own event comes last: from it on, its accounts are seen with all of it.
                self.debits_equal_credits()
        assert self.refolded == self.journal.states

    def no_limit_was_worsened(self, before: State, recorded: Recorded) -> None:
        after = self.refolded[recorded.stream]
        if not isinstance(recorded.event, EntriesPosted):
            return
        assert isinstance(before, Account) and isinstance(after, Account)
        if after.min_balance is not None and after.available < after.min_balance:
            assert after.available >= before.available
        if after.max_balance is not None and after.balance > after.max_balance:
            assert after.balance <= before.balance

    def debits_equal_credits(self) -> None:
        imbalance: Counter[tuple[str, str]] = Counter()
        for state in self.refolded.values():
            if isinstance(state, Account):
                imbalance[state.ledger, state.asset] += state.posted_debits - state.posted_credits
        assert not any(imbalance.values())

    @invariant()
    def the_accounts_are_those_of_the_model(self) -> None:
        for book, model in self.models.items():
            for address, sheet in model.accounts.items():
                account = self.journal.states[account_stream(book, address)]
                assert isinstance(account, Account)
                assert account.balance == model.balance(address)
                assert (account.posted_debits, account.posted_credits) == (
                    model.total(address, "debit"),
                    model.total(address, "credit"),
                )
                assert (account.asset, account.normal_side) == (sheet.asset, sheet.side)
                assert (account.min_balance, account.max_balance) == (sheet.floor, sheet.ceiling)
                assert account.metadata == sheet.notes
                assert max(abs(account.balance), account.posted_debits, account.posted_credits) <= MAX_AMOUNT

    @invariant()
    def a_snapshot_is_the_state(self) -> None:
        for state in self.journal.states.values():
            if isinstance(state, Account):
                assert decode_snapshot(encode_snapshot(state)) == state

    def teardown(self) -> None:
        """What is stored is what was decided."""
        for recorded in self.journal.recorded:
            state = encode_event(recorded.event, encode_envelope(recorded.envelope))
            topic = recorded.event.TOPIC
            assert decode(recorded.stream, recorded.version, topic, state, recorded.position) == recorded


LedgerMachine.TestCase.settings = in_memory()
TestLedger = LedgerMachine.TestCase
