"""Payouts under any order of calls, time-outs, callbacks, inquiries, crashes and operators: money leaves once or not.

The provider is idempotent by key and may lie. Answers to submissions may be lost. Reports arrive late, repeatedly and
in any order. The books always say one thing about each payout's money. Once everything has arrived, every hold has
ended or its payout is listed as stuck.
"""

from itertools import pairwise
from typing import Any, Literal, NamedTuple

import pytest
from hypothesis import event, note
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from domain.model.accounts import ChangeStatus, OpenAccount
from domain.model.commands import Outcome
from domain.model.errors import RuleRefusal
from domain.model.events import Context
from domain.model.holds import SettleHold, VoidHold
from domain.model.idempotency import Operation, operation_id
from domain.model.ledgers import OpenLedger
from domain.model.payouts.attempts import RecordSilence, SubmitPayout
from domain.model.payouts.payout import Payout, Source, Verdict
from domain.model.payouts.reports import RecordReport, Report
from domain.model.payouts.resolutions import CompletePayout, FailPayout, ReconcilePayout
from domain.model.streams import account_stream, payout_stream, transaction_stream
from domain.model.times import later
from domain.model.transactions import Description, Transaction
from tests.ledgers import opening, transfer
from tests.payouts import CLEARING, CONTEXT, PATIENCE_SECONDS, TOLD, a_mark, a_request
from tests.properties import invariants
from tests.properties.profiles import in_memory
from tests.unit.journal_in_memory import JournalInMemory

pytestmark = pytest.mark.timeout(3600)  # the nightly profile takes long

OPERATOR = Context("operator", "conversation-9")
BEGINNING = "2026-11-23T20:00:00.000000Z"
DEPOSIT = 100


class Message(NamedTuple):
    """A callback under way. It can arrive any number of times."""

    payout: str
    id: str
    report: Report


class Truth:
    """What the provider did about a key. It acts once, decides once, and may report something else first."""

    def __init__(self) -> None:
        self.outcome: Verdict = "processing"
        self.said: set[Verdict] = set()


class PayoutMachine(RuleBasedStateMachine):
    """Does to payouts whatever can be done to them."""

    payouts: Bundle[str] = Bundle("payouts")
    messages: Bundle[Message] = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.journal = JournalInMemory()
        self.seconds = 0
        self.ids: list[str] = []
        self.truth: dict[str, Truth] = {}
        self.resolved: set[str] = set()
        self.numbered = 0

    @initialize()
    def begin(self) -> None:
        self.perform(OpenLedger(CONTEXT, "main", {}))
        self.perform(OpenAccount(CONTEXT, "main", "alice", opening(0)))
        self.perform(OpenAccount(CONTEXT, "main", "cash", opening(normal_side="debit")))
        self.perform(transfer("cash", "alice", DEPOSIT, "deposit"))

    def perform(self, command: Any) -> Outcome:
        self.seconds += 1
        return self.journal.perform(command, later(BEGINNING, self.seconds))

    def payout(self, id: str) -> Payout:
        state = self.journal.states[payout_stream("main", id)]
        assert isinstance(state, Payout)
        return state

    def number(self) -> str:
        self.numbered += 1
        return f"n{self.numbered}"

    # Clients.

    @rule(target=payouts, amount=st.integers(1, 60))
    def request(self, amount: int) -> str:
        key = self.number()
        made = self.perform(a_request(key, amount)).state
        assert made.state in ("accepted", "rejected")
        self.ids.append(made.id)
        return str(made.id)

    @rule(id=payouts, command=st.sampled_from([SettleHold, VoidHold]))
    def client_meddles(self, id: str, command: type[SettleHold | VoidHold]) -> None:
        key = self.number()
        operation = Operation(key, operation_id("main", key), "f")
        outcome = self.perform(command(CONTEXT, "main", operation, Description(), id))
        assert outcome.is_refused

    @rule(amount=st.integers(1, 60))
    def client_spends(self, amount: int) -> None:
        self.perform(transfer("alice", "cash", amount, self.number()))

    # The payer, and the provider it calls.

    @rule(
        id=payouts,
        arrives=st.booleans(),
        answered=st.booleans(),
        dies=st.booleans(),
        outcome=st.sampled_from(["completed", "failed", "processing"]),
    )
    def submit(self, id: str, arrives: bool, answered: bool, dies: bool, outcome: Verdict) -> None:
        payout = self.payout(id)
        submission = self.perform(SubmitPayout(CONTEXT, payout, a_mark(), PATIENCE_SECONDS))
        assert submission.recorded == payout.is_to_be_submitted
        submitted: Payout = submission.state
        if not submission.recorded or submitted.state == "failed":  # because its account is frozen
            return
        if arrives:
            truth = self.truth.setdefault(submitted.provider_key, Truth())
            if truth.outcome == "processing":
                truth.outcome = outcome
        if dies:
            return
        self.answer(submitted, "submission", answered and arrives)

    @rule(id=payouts, answered=st.booleans())
    def ask(self, id: str, answered: bool) -> None:
        payout = self.payout(id)
        if payout.due_at is not None and not payout.is_to_be_submitted:
            self.answer(payout, "inquiry", answered)

    @rule(
        id=payouts,
        data=st.data(),
        command=st.sampled_from([RecordReport, RecordSilence]),
    )
    def ask_slowly(self, id: str, data: st.DataObject, command: type[Any]) -> None:
        """Something else happens between an inquiry and its answer."""
        seen = self.payout(id)
        if seen.due_at is None or seen.is_to_be_submitted:
            return
        report = self.said(seen)
        other = data.draw(st.sampled_from([ReconcilePayout, CompletePayout, FailPayout, None]))
        if other is not None:
            self.resolve(id, other)
        if command is RecordReport:
            self.perform(RecordReport(TOLD, seen, a_mark(), "inquiry", report))
        else:
            self.perform(RecordSilence(CONTEXT, seen, a_mark(), "inquiry", "ReadTimeout"))

    def answer(self, seen: Payout, source: Source, answered: bool) -> None:
        if answered:
            self.perform(RecordReport(TOLD, seen, a_mark(), source, self.said(seen)))
        else:
            self.perform(RecordSilence(CONTEXT, seen, a_mark(), source, "ReadTimeout"))

    def said(self, payout: Payout) -> Report:
        truth = self.truth.get(payout.provider_key)
        if truth is None:
            return Report("unknown")
        truth.said.add(truth.outcome)
        return Report(truth.outcome, payout.amount, payout.asset)

    @rule(id=payouts, outcome=st.sampled_from(["completed", "failed"]))
    def provider_decides(self, id: str, outcome: Verdict) -> None:
        truth = self.truth.get(self.payout(id).provider_key)
        if truth is not None and truth.outcome == "processing":
            truth.outcome = outcome

    # Callbacks.

    @rule(target=messages, id=payouts, lies=st.booleans(), wrong=st.booleans())
    def provider_says(self, id: str, lies: bool, wrong: bool) -> Message:
        payout = self.payout(id)
        truth = self.truth.get(payout.provider_key)
        verdict: Verdict = truth.outcome if truth else "processing"
        if lies and truth:
            verdict = {"completed": "failed", "failed": "completed"}.get(verdict, verdict)  # type: ignore[assignment]
        if truth:
            truth.said.add(verdict)
            if wrong:
                truth.said |= {"completed", "failed"}
        amount = payout.amount + 1 if wrong else payout.amount
        return Message(id, self.number(), Report(verdict, amount, payout.asset))

    @rule(message=messages)
    def callback_arrives(self, message: Message) -> None:
        payout = self.payout(message.payout)
        if not payout.attempts:
            return  # a provider reports nothing about a payout it never received
        before = payout.version
        self.perform(RecordReport(TOLD, payout, a_mark(), "callback", message.report, message.id))
        again = self.perform(
            RecordReport(TOLD, self.payout(message.payout), a_mark(), "callback", message.report, message.id)
        )
        assert not again.recorded
        assert self.payout(message.payout).version <= before + 1

    # Operators.

    @rule(id=payouts, command=st.sampled_from([ReconcilePayout, CompletePayout, FailPayout]))
    def operator_resolves(self, id: str, command: type[Any]) -> None:
        self.resolve(id, command)

    def resolve(self, id: str, command: type[Any]) -> None:
        try:
            confirmed = (True,) if command is FailPayout else ()
            asked = command(OPERATOR, self.payout(id), a_mark(), "because", *confirmed)
            recorded = self.perform(asked).recorded
        except RuleRefusal as refusal:
            event(f"{command.__name__}: {refusal.code}")
            return
        if recorded and command is not ReconcilePayout:
            self.resolved.add(id)

    @rule(address=st.sampled_from(["alice", CLEARING]), status=st.sampled_from(["frozen", "open"]))
    def freeze(self, address: str, status: Literal["frozen", "open"]) -> None:
        if account_stream("main", address) in self.journal.states:
            self.perform(ChangeStatus(OPERATOR, "main", address, status))

    # Invariants.

    @invariant()
    def the_books_say_one_thing_of_each_payouts_money(self) -> None:
        held = paid = 0
        for id in self.ids:
            payout = self.payout(id)
            hold = self.journal.states[transaction_stream("main", id)]
            assert isinstance(hold, Transaction)
            expected = {"held": "pending", "paid": None, "released": None}[payout.money]
            assert expected is None or hold.status == expected
            held += payout.amount if payout.money == "held" else 0
            paid += payout.amount if payout.money == "paid" else 0
            if payout.state == "completed":
                assert payout.money == "paid"
            elif payout.state in ("failed", "rejected"):
                assert payout.money == "released"
            elif payout.state != "stuck":
                assert payout.money == "held"
                assert payout.due_at is not None, "it would be forgotten"
        clearing = self.journal.states.get(account_stream("main", CLEARING))
        if clearing is not None:
            assert (clearing.balance, clearing.pending_credits) == (-paid, held)
            assert self.journal.states[account_stream("main", "alice")].pending_debits == held

    @invariant()
    def what_a_provider_has_is_not_sent_again(self) -> None:
        """A payout is submitted again only if the provider itself has said that it has none."""
        for id in self.ids:
            steps = self.payout(id).history
            submitted = [number for number, step in enumerate(steps) if step.event == "submitted"]
            for earlier, after in pairwise(submitted):
                between = [step.event for step in steps[earlier:after]]
                assert "reported" in between, between

    @invariant()
    def an_end_is_changed_by_nothing_but_what_resolves_a_contradiction(self) -> None:
        for id in self.ids:
            told = [step.event for step in self.payout(id).history]
            ends = [number for number, name in enumerate(told) if name in ("completed", "failed")]
            for earlier, after in pairwise(ends):
                assert "contradicted" in told[earlier:after], told

    def teardown(self) -> None:
        """Everything arrives at last: each payout has ended as the provider says, or is stuck."""
        if not self.ids:
            return
        self.freeze("alice", "open")
        self.freeze(CLEARING, "open")
        for id in self.ids:
            self.hear(id)
            payout = self.payout(id)
            event(f"ends {payout.state}")
            note(str(payout))
            assert payout.due_at is None
            assert payout.state in ("completed", "failed", "stuck", "rejected")
            truth = self.truth.get(payout.provider_key)
            # If it lied once and was never asked, its lie is all that anybody knows.
            said = truth.said - {"processing"} if truth else set()
            if len(said) == 1 and id not in self.resolved and payout.state != "stuck":
                assert {payout.state} == said
        invariants.check(self.journal.recorded, self.journal.states)

    def hear(self, id: str) -> None:
        """Do a payout's due work until none is left, with a provider that answers and decides."""
        for _ in range(10):
            payout = self.payout(id)
            if payout.due_at is None:
                return
            if payout.is_to_be_submitted:
                payout = self.perform(SubmitPayout(CONTEXT, payout, a_mark(), PATIENCE_SECONDS)).state
                self.truth.setdefault(payout.provider_key, Truth())
            truth = self.truth.get(payout.provider_key)
            if truth is not None and truth.outcome == "processing":
                truth.outcome = "completed"
            self.answer(payout, "inquiry", answered=True)


PayoutMachine.TestCase.settings = in_memory()
TestPayouts = PayoutMachine.TestCase
