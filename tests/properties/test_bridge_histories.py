"""Bridges under any order of calls, lost answers, delayed submissions, crashes and obstacles at either ledger.

The two ledgers have journals of their own. Each amount arrives once or stays, whatever was lost and however late it
came. What the ledgers say of each other cancels out, but for what is under way, also to an examiner who reads one after
the other. Once everything has arrived, nothing is under way, and nothing needs a person.
"""

from typing import Any, NamedTuple

import pytest
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from domain.model.accounts import Account, ChangeAccount, ChangeStatus, OpenAccount, Status
from domain.model.commands import Outcome
from domain.model.ledgers import OpenLedger
from domain.model.payouts.attempts import RecordSilence, SubmitPayout
from domain.model.payouts.bridges import bridge_account
from domain.model.payouts.payout import Payout, Source
from domain.model.payouts.receiving import ReceiveBridge
from domain.model.payouts.reports import RecordReport, Report
from domain.model.payouts.resolutions import ReconcilePayout
from domain.model.streams import account_stream, payout_stream, transaction_stream
from domain.model.times import later
from domain.model.transactions import Transaction
from projections.audit.bridges import Crossing, Side, imbalances, is_sent_at
from projections.process_managers.providers.bridge import receipt_of, report_of
from projections.process_managers.providers.interface import order_of
from tests.ledgers import opening, transfer
from tests.payouts import CONTEXT, TOLD, a_mark, bridge_request
from tests.properties import invariants
from tests.properties.profiles import in_memory
from tests.unit.journal_in_memory import JournalInMemory

pytestmark = pytest.mark.timeout(3600)  # the nightly profile takes long

BEGINNING = "2026-11-23T20:00:00.000000Z"
DEPOSIT = 100
LEDGERS = ("east", "west")
OTHER = {"east": "west", "west": "east"}
USER = "users:any"


class Sent(NamedTuple):
    """A submission under way. It may arrive at any time, any number of times, and its answer at any time after."""

    payout: Payout
    command: ReceiveBridge


class Answered(NamedTuple):
    """An answer under way, to a payer who asked or submitted when the payout was as it was `seen`."""

    seen: Payout
    source: Source
    report: Report


class Look(NamedTuple):
    """An examiner's look at both ledgers: the heads before, and then each ledger's side with the head then."""

    heads_before: dict[str, int]
    sides: dict[str, tuple[Side, int]]


class BridgeMachine(RuleBasedStateMachine):
    """Does to bridges, in both directions, whatever can be done to them."""

    payouts: Bundle[Payout] = Bundle("payouts")
    submissions: Bundle[Sent] = Bundle("submissions")
    answers: Bundle[Answered] = Bundle("answers")

    def __init__(self) -> None:
        super().__init__()
        self.journals = {ledger: JournalInMemory() for ledger in LEDGERS}
        self.seconds = 0
        self.requested: dict[str, Payout] = {}
        self.look = Look({}, {})
        self.numbered = 0

    @initialize()
    def begin(self) -> None:
        for ledger in LEDGERS:
            self.perform(ledger, OpenLedger(CONTEXT, ledger, {}))
            self.perform(ledger, OpenAccount(CONTEXT, ledger, USER, opening(0, 2 * DEPOSIT)))
            self.perform(ledger, OpenAccount(CONTEXT, ledger, "vault", opening(normal_side="debit")))
            self.perform(ledger, OpenAccount(CONTEXT, ledger, "euros", opening(asset="EUR/2")))
            self.perform(ledger, transfer("vault", USER, DEPOSIT, "deposit", ledger))
        for ledger in LEDGERS:
            self.arrived(self.submitted(self.requested_of(ledger, 5, USER, USER)))

    def perform(self, ledger: str, command: Any) -> Outcome:
        self.seconds += 1
        return self.journals[ledger].perform(command, later(BEGINNING, self.seconds))

    def payout(self, of: Payout) -> Payout:
        state = self.journals[of.ledger].states[payout_stream(of.ledger, of.id)]
        assert isinstance(state, Payout)
        return state

    def received(self, payout: Payout) -> Transaction | None:
        command = receipt_of(order_of(payout))
        stream = transaction_stream(command.ledger, command.operation.id)
        made: Transaction | None = self.journals[command.ledger].states.get(stream)
        return made

    # Clients, and operators who put obstacles in the way of either ledger.

    @rule(
        target=payouts,
        ledger=st.sampled_from(LEDGERS),
        amount=st.integers(1, 60),
        account=st.sampled_from([USER, "vault"]),
        to=st.sampled_from([USER, USER, "vault", "euros", "nobody"]),
    )
    def request(self, ledger: str, amount: int, account: str, to: str) -> Payout:
        return self.requested_of(ledger, amount, account, to)

    def requested_of(self, ledger: str, amount: int, account: str, to: str) -> Payout:
        self.numbered += 1
        command = bridge_request(ledger, f"n{self.numbered}", amount, account, OTHER[ledger], to)
        made: Payout = self.perform(ledger, command).state
        self.requested[made.id] = made
        return made

    @rule(
        ledger=st.sampled_from(LEDGERS),
        account=st.sampled_from([USER, "vault", "bridge"]),
        status=st.sampled_from(["frozen", "open"]),
    )
    def freeze(self, ledger: str, account: str, status: Status) -> None:
        address = bridge_account(OTHER[ledger], "USD/2") if account == "bridge" else account
        if account_stream(ledger, address) in self.journals[ledger].states:
            self.perform(ledger, ChangeStatus(CONTEXT, ledger, address, status))

    @rule(ledger=st.sampled_from(LEDGERS), most=st.integers(0, 150))
    def limit(self, ledger: str, most: int) -> None:
        self.perform(ledger, ChangeAccount(CONTEXT, ledger, USER, max_balance=most))

    @rule(payout=payouts)
    def reconcile(self, payout: Payout) -> None:
        seen = self.payout(payout)
        if seen.state != "rejected":
            self.perform(payout.ledger, ReconcilePayout(CONTEXT, seen, a_mark(), "to be sure"))

    # Payers, of which any may die, or be held up, at any point.

    @rule(target=submissions, payout=payouts)
    def submit(self, payout: Payout) -> Any:
        """Record that the receiver is called. The call is under way then, whatever becomes of its payer."""
        seen = self.payout(payout)
        return self.submitted(seen) if seen.is_to_be_submitted else multiple()

    def submitted(self, seen: Payout) -> Any:
        outcome = self.perform(seen.ledger, SubmitPayout(CONTEXT, seen, a_mark(), 10.0))
        if outcome.state.state != "submitted":  # because its account is frozen
            return multiple()
        return Sent(outcome.state, receipt_of(order_of(outcome.state)))

    @rule(target=answers, sent=submissions)
    def arrive(self, sent: Sent) -> Answered:
        return self.arrived(sent)

    def arrived(self, sent: Sent) -> Answered:
        made = self.perform(sent.command.ledger, sent.command).state
        return Answered(sent.payout, "submission", report_of(order_of(sent.payout), made))

    @rule(target=answers, payout=payouts)
    def ask(self, payout: Payout) -> Any:
        seen = self.payout(payout)
        return multiple() if seen.state in ("accepted", "rejected") else self.asked(seen)

    def asked(self, seen: Payout) -> Answered:
        made = self.received(seen)
        report = Report("unknown") if made is None else report_of(order_of(seen), made)
        return Answered(seen, "inquiry", report)

    @rule(answer=answers)
    def hear(self, answer: Answered) -> None:
        self.tell(answer)

    @rule(payout=payouts, source=st.sampled_from(["submission", "inquiry"]))
    def hear_nothing(self, payout: Payout, source: Source) -> None:
        seen = self.payout(payout)
        if seen.state in ("submitted", "in_doubt"):
            self.perform(seen.ledger, RecordSilence(CONTEXT, seen, a_mark(), source, "no answer"))

    def tell(self, answer: Answered) -> None:
        seen, source, report = answer
        self.perform(seen.ledger, RecordReport(TOLD, seen, a_mark(), source, report))

    # An examiner, who reads the ledgers one after the other.

    @rule(first=st.sampled_from(LEDGERS))
    def look_on(self, first: str) -> None:
        """Begin to look, read the next side, or judge: whatever else happens comes between any two of these."""
        look = self.look
        if not look.heads_before:
            self.look = Look({ledger: journal.head for ledger, journal in self.journals.items()}, {})
        elif len(look.sides) < len(LEDGERS):
            ledger = OTHER[first] if first in look.sides else first
            look.sides[ledger] = self.side(ledger), self.journals[ledger].head
        else:
            self.require_balance(look)
            self.look = Look({}, {})
            event("judged from different times")

    def side(self, ledger: str) -> Side:
        stream = account_stream(ledger, bridge_account(OTHER[ledger], "USD/2"))
        account: Account | None = self.journals[ledger].states.get(stream)
        return Side(ledger, OTHER[ledger], "USD/2", account.balance if account else 0)

    def require_balance(self, look: Look) -> None:
        under_way = [
            payout
            for payout in map(self.payout, self.requested.values())
            if payout.ended_at is None or payout.position > look.heads_before[payout.ledger]
        ]
        crossings = [self.crossing(payout, look) for payout in under_way if payout.rejection is None]
        assert imbalances([side for side, _ in look.sides.values()], crossings) == []

    def crossing(self, payout: Payout, look: Look) -> Crossing:
        made, receiver = self.received(payout), payout.destination["ledger"]
        is_posted = made is not None and made.rejection is None
        return Crossing(
            payout.ledger,
            receiver,
            payout.asset,
            payout.amount,
            is_received=made is not None and is_posted and made.position <= look.sides[receiver][1],
            is_sent=is_sent_at(
                [
                    (step.event, step.position)
                    for step in payout.history
                    if step.event in ("completed", "failed")
                ],
                look.sides[payout.ledger][1],
            ),
        )

    # What is always so, and what is so in the end.

    @invariant()
    def the_ledgers_agree_at_every_instant(self) -> None:
        if self.requested:
            heads = {ledger: journal.head for ledger, journal in self.journals.items()}
            self.require_balance(
                Look(heads, {ledger: (self.side(ledger), heads[ledger]) for ledger in LEDGERS})
            )

    @invariant()
    def each_end_is_what_the_receiver_did(self) -> None:
        for payout in map(self.payout, self.requested.values()):
            assert payout.state != "stuck"
            made = self.received(payout) if payout.provider_key else None
            if payout.state == "completed":
                assert made is not None and made.rejection is None
            elif payout.state == "failed":
                assert payout.attempts == 0 or (made is not None and made.rejection is not None)

    def teardown(self) -> None:
        """Every obstacle goes away, and every submission arrives once more. Then the payers need no one."""
        for ledger in LEDGERS:
            for account in (USER, "vault", "bridge"):
                self.freeze(ledger, account, "open")
        for _ in range(4):
            for payout in map(self.payout, self.requested.values()):
                if payout.is_to_be_submitted:
                    self.tell(self.arrived(self.submitted(payout)))
                elif payout.ended_at is None:
                    self.tell(self.asked(payout))
        ended = list(map(self.payout, self.requested.values()))
        assert {payout.state for payout in ended} <= {"completed", "failed", "rejected"}
        assert imbalances(map(self.side, LEDGERS), []) == []
        for journal in self.journals.values():
            invariants.check(journal.recorded, journal.states)
        event(f"{len({payout.state for payout in ended})} kinds of ends")


BridgeMachine.TestCase.settings = settings(in_memory(), stateful_step_count=60)
TestBridges = BridgeMachine.TestCase
