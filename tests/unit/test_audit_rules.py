"""The audit of a journal: the ledger's own decisions break no rule, and each tampering breaks the rule it must."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from domain.journal.encoding import encode_envelope, encode_event
from domain.model.accounts import ChangeAccount, ChangeStatus, OpenAccount
from domain.model.commands import Command
from domain.model.holds import ExpireHold
from domain.model.idempotency import operation_id
from domain.model.ledgers import OpenLedger
from domain.model.payouts.attempts import SubmitPayout
from domain.model.payouts.payout import Verdict
from domain.model.payouts.resolutions import CompletePayout, FailPayout
from domain.model.postings import CompleteTransaction
from domain.model.times import Instant
from projections.audit.rules import broken
from projections.audit.stored import Stored, parsed
from projections.audit.violation import Violation
from tests.payouts import a_mark, a_report, a_request
from tests.unit.given_when_then import (
    CONTEXT,
    a_hold,
    a_posting,
    a_reversal,
    a_settlement,
    a_void,
    accepted,
    an_opening,
    credit,
    debit,
)
from tests.unit.journal_in_memory import JournalInMemory

NOW: Instant = "2026-11-23T20:00:00.000000Z"
SOON: Instant = "2026-11-23T20:00:01.000000Z"

Tamper = Callable[[list[Stored]], None]


def opening_of(address: str, *more: Any) -> OpenAccount:
    return OpenAccount(CONTEXT, "main", address, an_opening(*more))


def a_payout_of_each_end(journal: JournalInMemory) -> Iterator[Command]:
    """Payouts that complete, that complete or fail after the opposite was reported, or that are refused."""
    yield OpenLedger(CONTEXT, "main", {})
    yield opening_of("cash", "USD/2", "debit")
    yield opening_of("alice", "USD/2", "credit", 0)
    yield a_posting(debit("cash", 1000), credit("alice", 1000), key="deposit")
    ends: tuple[tuple[Verdict, ...], ...] = (("completed",), ("failed", "completed"), ("completed", "failed"))
    for number, verdicts in enumerate(ends):
        request = a_request(f"payout {number}", 5)
        yield request
        seen = journal.states[request.payout_stream]
        yield SubmitPayout(CONTEXT, seen, a_mark(), 1.0)
        for verdict in verdicts:
            yield a_report(seen, verdict)
        if len(verdicts) > 1:
            end = CompletePayout if verdicts[1] == "completed" else FailPayout
            yield end(CONTEXT, seen, a_mark(), "as the statement shows")
    yield a_request("payout too large", 5000)


def a_journal() -> list[Stored]:
    """Every kind of command, as stored."""
    journal = JournalInMemory()

    def at(now: Instant, *commands: Command) -> None:
        for command in commands:
            journal.perform(command, now)

    at(
        NOW,
        OpenLedger(CONTEXT, "main", {}),
        opening_of("cash", "USD/2", "debit"),
        opening_of("alice", "USD/2", "credit", 0, 5000),
        opening_of("bob"),
        opening_of("euros", "EUR/2"),
        opening_of("more euros", "EUR/2"),
        a_posting(debit("cash", 1000), credit("alice", 1000), key="deposit"),
        a_posting(
            debit("alice", 10), credit("bob", 10), debit("euros", 7), credit("more euros", 7), key="exchange"
        ),
        a_hold(debit("alice", 300), credit("bob", 300)),
        a_settlement(amount=200),
        a_hold(debit("alice", 100), credit("bob", 100), key="hold 2", expires_at=SOON),
        a_void("hold 2"),
        a_hold(debit("alice", 20), credit("bob", 20), key="hold 3", expires_at=SOON),
        a_reversal("deposit", amount=50),
        a_posting(debit("alice", 4000), credit("bob", 4000), key="too much"),
    )
    request = accepted(a_posting(debit("alice", 5), credit("bob", 5), key="later"))
    outcome = journal.perform(request, NOW)
    at(
        SOON,
        ExpireHold(CONTEXT, "main", operation_id("main", "hold 3")),
        CompleteTransaction(outcome.state),
        ChangeAccount(CONTEXT, "main", "alice", min_balance=2000),
        a_posting(debit("cash", 1), credit("alice", 1), key="key-2"),
        ChangeStatus(CONTEXT, "main", "bob", "frozen"),
        ChangeStatus(CONTEXT, "main", "bob", "open"),
        opening_of("empty"),
        ChangeStatus(CONTEXT, "main", "empty", "closed"),
    )
    return stored(journal)


def stored(journal: JournalInMemory) -> list[Stored]:
    return [
        parsed(
            r.stream, r.version, r.event.TOPIC, encode_event(r.event, encode_envelope(r.envelope)), r.position
        )
        for r in journal.recorded
    ]


def violations(events: Sequence[Stored]) -> list[Violation]:
    def history(stream: str) -> list[Stored]:
        return sorted((event for event in events if event.stream == stream), key=lambda event: event.version)

    return list(broken(events, history))


def index(events: Sequence[Stored], topic: str, number: int = 0) -> int:
    return [position for position, event in enumerate(events) if event.topic == topic][number]


def changed(topic: str, number: int = 0, **data: Any) -> Tamper:
    """A tampering that changes members of an event."""

    def tamper(events: list[Stored]) -> None:
        place = index(events, topic, number)
        events[place] = events[place]._replace(data={**events[place].data, **data})

    return tamper


def entry_changed(topic: str, number: int = 0, entry: int = 0, **members: Any) -> Tamper:
    """A tampering that changes an entry of an event."""

    def tamper(events: list[Stored]) -> None:
        event = events[index(events, topic, number)]
        entries = [dict(given) for given in event.data["entries"]]
        entries[entry] |= members
        changed(topic, number, entries=entries)(events)

    return tamper


def enveloped(topic: str, number: int = 0, **envelope: Any) -> Tamper:
    """A tampering that changes an event's envelope."""

    def tamper(events: list[Stored]) -> None:
        place = index(events, topic, number)
        events[place] = events[place]._replace(envelope={**events[place].envelope, **envelope})

    return tamper


def removed(topic: str, number: int = 0) -> Tamper:
    """A tampering that removes an event without leaving a gap in positions or versions."""

    def tamper(events: list[Stored]) -> None:
        gone = events.pop(index(events, topic, number))
        for place, event in enumerate(events):
            version = event.version - (event.stream == gone.stream and event.version > gone.version)
            events[place] = event._replace(version=version, position=place + 1)

    return tamper


def repeated(topic: str, number: int = 0) -> Tamper:
    """A tampering that repeats an event after all others, with the next version and position."""

    def tamper(events: list[Stored]) -> None:
        event = events[index(events, topic, number)]
        version = 1 + max(other.version for other in events if other.stream == event.stream)
        events.append(event._replace(version=version, position=len(events) + 1))

    return tamper


def moved(topic: str, number: int = 0, **place: Any) -> Tamper:
    """A tampering that changes the stream, version or position of an event."""

    def tamper(events: list[Stored]) -> None:
        found = index(events, topic, number)
        events[found] = events[found]._replace(**place)

    return tamper


def all_of(*tampers: Tamper) -> Tamper:
    def tamper(events: list[Stored]) -> None:
        for each in tampers:
            each(events)

    return tamper


def test_what_the_ledger_decides_breaks_no_rule() -> None:
    events = a_journal()
    assert violations(events) == []
    assert len({event.topic for event in events}) > 18


POSTED, HELD = "transaction.posted", "transaction.held"
SETTLED, VOIDED = "transaction.hold_settled", "transaction.hold_voided"


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        (moved(POSTED, position=999), "position_gap"),
        (moved("account.entries_posted", 3, version=9), "version_gap"),
        (moved("account.opened", version=2), "version_gap"),
        (moved("ledger.asset_registered", version=7), "version_gap"),
        (moved(SETTLED, version=3), "version_gap"),
        (moved(POSTED, 2, version=3), "version_gap"),
        (enveloped(POSTED, recorded_at="2026-11-24T00:00:00.000000Z"), "time_reversed"),
        (removed("account.opened", 2), "event_misplaced"),
        (repeated("account.opened"), "event_misplaced"),
        (repeated("ledger.opened"), "event_misplaced"),
        (repeated("transaction.rejected"), "event_misplaced"),
        (removed("ledger.opened"), "event_misplaced"),
        (removed("ledger.asset_registered"), "asset_conflict"),
        (repeated("ledger.asset_registered"), "asset_conflict"),
        (changed("account.opened", asset="USD/3"), "asset_conflict"),
        (
            changed("account.entries_posted", 1, debits=0, credits=9_007_199_254_740_991),
            "amount_out_of_range",
        ),
        (changed("account.entries_held", debits=1), "amount_out_of_range"),
        (changed("account.opened", 1, min_balance=100, max_balance=999), "limit_broken"),
        (changed("account.limits_changed", min_balance=2, max_balance=1), "limit_broken"),
        (all_of(repeated("account.frozen"), repeated("account.entries_posted", 3)), "account_not_open"),
        (repeated("account.closed"), "account_not_open"),
        (moved("account.closed", stream="main/accounts/bob", version=99), "account_not_open"),
        (entry_changed(POSTED, amount=999), "transaction_unbalanced"),
        (entry_changed(HELD, amount=999), "transaction_unbalanced"),
        (
            all_of(
                entry_changed(POSTED, amount=999, balance_after=999, debits_after=999),
                changed("account.entries_posted", debits=999),
            ),
            "totals_unbalanced",
        ),
        (removed(POSTED), "entries_unmatched"),
        (removed("account.entries_posted"), "entries_unmatched"),
        (removed("account.entries_held"), "entries_unmatched"),
        (removed("account.entries_settled"), "entries_unmatched"),
        (removed("account.entries_released"), "entries_unmatched"),
        (removed("transaction.hold_expired"), "entries_unmatched"),
        (removed(SETTLED), "entries_unmatched"),
        (removed(VOIDED), "entries_unmatched"),
        (removed("transaction.reversed"), "entries_unmatched"),
        (removed("transaction.settlement_posted"), "entries_unmatched"),
        (removed("transaction.void_recorded"), "entries_unmatched"),
        (repeated("account.entries_posted"), "entries_unmatched"),
        (changed("account.entries_posted", transaction_id="another"), "entries_unmatched"),
        (changed("account.entries_settled", hold_id="another"), "entries_unmatched"),
        (changed("account.entries_settled", held_debits=299), "entries_unmatched"),
        (changed("account.entries_released", hold_id="another"), "entries_unmatched"),
        (changed(SETTLED, settled_by="another"), "entries_unmatched"),
        (changed("transaction.reversed", amount=49), "entries_unmatched"),
        (entry_changed("transaction.void_recorded", amount=99), "hold_misused"),
        (enveloped("account.entries_posted", causation_id="another"), "entries_unmatched"),
        (entry_changed(POSTED, balance_after=1), "balance_after_wrong"),
        (entry_changed(POSTED, debits_after=1), "balance_after_wrong"),
        (entry_changed(POSTED, asset="EUR/2"), "balance_after_wrong"),
        (entry_changed(POSTED, normal_side="credit"), "balance_after_wrong"),
        (enveloped(POSTED, idempotency_key="another"), "key_mismatch"),
        (enveloped("transaction.rejected", idempotency_key=None), "key_mismatch"),
        (repeated(SETTLED), "hold_misused"),
        (repeated("transaction.hold_expired"), "hold_misused"),
        (enveloped(VOIDED, recorded_at=SOON), "hold_misused"),
        (changed(HELD, 2, expires_at=None), "hold_misused"),
        (
            moved(VOIDED, stream=f"main/transactions/{operation_id('main', 'deposit')}", version=3),
            "hold_misused",
        ),
        (entry_changed("transaction.settlement_posted", amount=301), "settlement_exceeds_hold"),
        (changed("transaction.reversed", amount=1001), "reversal_exceeds_original"),
        (entry_changed("transaction.reversal_posted", account="bob"), "reversal_exceeds_original"),
        (
            moved(
                "transaction.reversed",
                stream=f"main/transactions/{operation_id('main', 'hold 3')}",
                version=2,
            ),
            "reversal_exceeds_original",
        ),
    ],
)
def test_what_is_tampered_with_breaks_the_rule_that_it_must(tamper: Tamper, code: str) -> None:
    events = a_journal()
    tamper(events)
    found = violations(events)
    assert code in {violation.code for violation in found}, found
    assert all(str(violation).startswith(violation.code) for violation in found)


def test_a_settlement_of_all_is_no_excess_and_a_limit_already_broken_may_stay_so() -> None:
    journal = JournalInMemory()
    for command in (
        OpenLedger(CONTEXT, "main", {}),
        opening_of("a"),
        opening_of("b"),
        a_hold(debit("a", 3), credit("b", 3)),
        ChangeAccount(CONTEXT, "main", "a", min_balance=10),
        a_settlement(),
        a_reversal("settlement", amount=1),
        a_reversal("settlement", key="rest"),
    ):
        assert not journal.perform(command, NOW).is_refused
    events = [
        parsed(
            r.stream, r.version, r.event.TOPIC, encode_event(r.event, encode_envelope(r.envelope)), r.position
        )
        for r in journal.recorded
    ]
    assert violations(events) == []


def test_a_journal_is_judged_up_to_what_cannot_be_understood() -> None:
    events = a_journal()
    place = index(events, "account.entries_held")
    events[place] = events[place]._replace(data={})
    (found,) = violations(events)
    assert (found.code, found.position) == ("event_unreadable", place + 1)
    assert found.words.endswith("nothing after it was judged")


def test_payouts_break_no_rule() -> None:
    events = payouts()
    assert violations(events) == []
    for topic in ("payout.completed", "payout.failed", "payout.contradicted", "payout.rejected"):
        index(events, topic)


def payouts() -> list[Stored]:
    journal = JournalInMemory()
    for command in a_payout_of_each_end(journal):
        journal.perform(command, NOW)
    return stored(journal)


def after_rejection(events: list[Stored]) -> None:
    """A refused payout is submitted to the provider nevertheless."""
    rejected, sent = (events[index(events, f"payout.{topic}")] for topic in ("rejected", "submitted"))
    events.append(sent._replace(stream=rejected.stream, version=2, position=len(events) + 1))


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        (changed("payout.accepted", amount=6), "payout_unmatched"),
        (changed("payout.accepted", account="cash"), "payout_unmatched"),
        (changed("payout.completed", booked_by=None), "payout_unmatched"),
        (changed("payout.completed", booked_by="nothing"), "payout_unmatched"),
        (changed("payout.failed", booked_by=operation_id("main", "deposit")), "payout_unmatched"),
        (enveloped("payout.completed", causation_id="x"), "payout_unmatched"),
        (enveloped("payout.accepted", idempotency_key="x"), "key_mismatch"),
        (enveloped("payout.rejected", idempotency_key="x"), "key_mismatch"),
        (repeated("payout.submitted"), "event_misplaced"),
        (after_rejection, "event_misplaced"),
    ],
)
def test_payouts_that_are_tampered_with_break_the_rule_that_they_must(tamper: Tamper, code: str) -> None:
    events = payouts()
    tamper(events)
    assert code in {found.code for found in violations(events)}


def test_payouts_have_no_gaps_and_begin_once() -> None:
    events = payouts()
    place = index(events, "payout.submitted")
    events[place] = events[place]._replace(version=3)
    assert "version_gap" in {found.code for found in violations(events)}
    events = payouts()
    events[index(events, "payout.submitted")] = events[index(events, "payout.submitted")]._replace(
        topic="payout.accepted"
    )
    assert "event_misplaced" in {found.code for found in violations(events)}
