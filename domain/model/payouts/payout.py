"""Payouts: money that leaves the ledger through a provider, with a state for whatever can be known of it.

A payout is a keyed request. Its hold is the transaction with the payout's id, so that one key begins one stream of
transactions, whatever it asked for; what becomes of it stands in a stream of its own. A provider that does not answer
has not failed: the payout is in doubt until the provider, asked under the same key of its own, says what it did.
Whatever contradicts what was recorded before moves nothing: the payout is stuck until an operator resolves it. The
decisions stand in `payout_requests`, `payout_attempts`, `payout_reports` and `payout_resolutions`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from domain.model.events import Event, Recorded
from domain.model.money import split_asset
from domain.model.refusals import payout_not_found
from domain.model.streams import ledger_of, name_of
from domain.model.times import Instant, later
from domain.model.transactions import Rejection

PayoutState = Literal["accepted", "submitted", "in_doubt", "completed", "failed", "stuck", "rejected"]
Verdict = Literal["processing", "completed", "failed", "unknown"]
"""What a provider says of a payout: `unknown` is that it never heard of it."""

Source = Literal["submission", "inquiry", "callback", "operator", "ledger"]
"""Who said so: the provider in answer to a submission or to an inquiry, or by itself; an operator; the ledger."""

Money = Literal["held", "paid", "released"]
"""What the ledger's books say of the money: it waits in the hold, it left, it is the account's again."""

FIRST_INQUIRY_SECONDS = 0.5
LONGEST_INQUIRY_SECONDS = 300.0
# After so many waits of one kind in a row the longest is reached.
MAX_DOUBLINGS = 10
# How many steps of a history are looked at for them: a long history makes a decision no slower.
MAX_STEPS_LOOKED_AT = 64


class Told(Event):
    """What was said of a payout, by whom; `message_id` is that of the callback that said it."""

    source: Source
    detail: str
    provider_reference: str
    message_id: str | None


class Requested(Event):
    """What was asked for; `fingerprint` is that of the request."""

    fingerprint: str
    account: str
    asset: str
    amount: int
    provider: str
    destination: dict[str, Any]
    reference: str
    metadata: dict[str, str]


class PayoutAccepted(Requested):
    """A payout was accepted: its amount is held. The provider will know it by `provider_key`."""

    TOPIC: ClassVar[str] = "payout.accepted"

    provider_key: str


class PayoutRejected(Requested):
    """A payout was refused by a business rule; `code` and `details` are the problem's.

    The transaction with its id was rejected.
    """

    TOPIC: ClassVar[str] = "payout.rejected"
    class_version: ClassVar[int] = 2

    code: str
    detail: str
    details: dict[str, Any]

    @staticmethod
    def upcast_v1_v2(data: dict[str, Any]) -> None:
        """Version 1 did not keep what a refusal is about: its answer had no members that say so, and has none."""
        data["details"] = {}


class PayoutSubmitted(Event):
    """The provider is about to be called. If nothing is recorded of it by `ask_at`, it will be asked what it did."""

    TOPIC: ClassVar[str] = "payout.submitted"

    attempt: int
    ask_at: Instant


class PayoutUnanswered(Event):
    """A submission or an inquiry got no answer that says anything. The provider is asked at `ask_at`."""

    TOPIC: ClassVar[str] = "payout.unanswered"

    source: Source
    detail: str
    ask_at: Instant


class PayoutReported(Told):
    """The provider said something that ends nothing; if an answer is still missing, it is asked at `ask_at`."""

    TOPIC: ClassVar[str] = "payout.reported"

    verdict: Verdict
    ask_at: Instant | None


class PayoutCompleted(Told):
    """The money has left; `booked_by` is the transaction that booked it, null where it was booked before."""

    TOPIC: ClassVar[str] = "payout.completed"

    booked_by: str | None


class PayoutFailed(Told):
    """The money will not leave; `booked_by` is the transaction that gave it back, null where it was back before."""

    TOPIC: ClassVar[str] = "payout.failed"

    booked_by: str | None


class PayoutContradicted(Told):
    """The provider said what cannot be true beside what was recorded, as `detail` says; operators resolve it."""

    TOPIC: ClassVar[str] = "payout.contradicted"

    verdict: Verdict
    amount: int | None
    asset: str | None


class PayoutReconciliationRequested(Event):
    """An operator wants the provider to be asked now."""

    TOPIC: ClassVar[str] = "payout.reconciliation_requested"

    reason: str


EVENTS: tuple[type[Event], ...] = (
    PayoutAccepted,
    PayoutRejected,
    PayoutSubmitted,
    PayoutUnanswered,
    PayoutReported,
    PayoutCompleted,
    PayoutFailed,
    PayoutContradicted,
    PayoutReconciliationRequested,
)


class Step(NamedTuple):
    """One event of a payout's history: the state after it, what happened, who said so and what."""

    state: PayoutState
    event: str
    source: Source | None
    detail: str
    actor: str
    at: Instant
    position: int


class Payout(NamedTuple):
    """A payout, folded.

    `attempts` counts submissions, `waits` the answers in a row that settled nothing. `due_at` is when the ledger must
    act, None if it need not. `is_unknown` says that the provider never heard of it, `is_acknowledged` that it has;
    `money` is what the books say, `booked_by` the transaction that says it. `messages` are the callbacks recorded.
    """

    ledger: str
    id: str
    account: str
    asset: str
    amount: int
    provider: str
    destination: Mapping[str, Any]
    reference: str
    metadata: Mapping[str, str]
    provider_key: str
    state: PayoutState
    money: Money
    booked_by: str
    attempts: int
    waits: int
    is_unknown: bool
    is_acknowledged: bool
    due_at: Instant | None
    provider_reference: str
    messages: tuple[str, ...]
    history: tuple[Step, ...]
    rejection: Rejection | None
    idempotency_key: str
    fingerprint: str
    correlation_id: str
    traceparent: str | None
    actor: str
    version: int
    position: int

    @property
    def made_position(self) -> int:
        """The position of its first event."""
        return self.history[0].position

    @property
    def accepted_at(self) -> Instant:
        """When its request was recorded."""
        return self.history[0].at

    @property
    def changed_at(self) -> Instant:
        """When its last event was recorded."""
        return self.history[-1].at

    @property
    def ended_at(self) -> Instant | None:
        """When it was completed, failed or rejected, None if it is none of these now."""
        if self.state not in ("completed", "failed", "rejected"):
            return None
        return next(step.at for step in reversed(self.history) if step.event == self.state)

    @property
    def clearing_account(self) -> str:
        """The account that its money goes to."""
        return clearing_account(self.provider, self.asset)

    @property
    def is_to_be_submitted(self) -> bool:
        """Whether the provider is to be called: it never was, or says that it never was."""
        return self.state == "accepted" or (self.state == "in_doubt" and self.is_unknown)

    def next_inquiry(self, now: Instant, *, is_answered: bool) -> Instant:
        """Return when to ask the provider next, now that it has answered or not, and its answer settles nothing.

        Each wait is twice the one before it. The waits begin anew when a provider that did not answer answers again,
        and when one that answered stops: what it will do next has nothing to do with how long it was away.
        """
        doublings = self._waits_in_a_row(is_answered=is_answered)
        return later(now, min(FIRST_INQUIRY_SECONDS * 2.0**doublings, LONGEST_INQUIRY_SECONDS))

    def _waits_in_a_row(self, *, is_answered: bool) -> int:
        """Return how many waits of one kind the history ends with: for an end, or for an answer.

        That the provider never heard of a payout counts as no answer, since the payout is submitted anew at once.
        """
        waits = 0
        for step in reversed(self.history[-MAX_STEPS_LOOKED_AT:]):
            if step.event == "submitted" or (step.source == "callback" and is_answered):
                continue
            was_answered = step.event == "reported" and step.state == "submitted"
            if step.event not in ("reported", "unanswered") or was_answered != is_answered:
                break
            waits += 1
        return min(waits, MAX_DOUBLINGS)

    def as_first_answered(self) -> "Payout":
        """Return the payout as the first answer to its request showed it."""
        if self.version == 1:
            return self
        first = self.history[0]
        return self._replace(
            state="accepted",
            money="held",
            booked_by=self.id,
            attempts=0,
            waits=0,
            is_unknown=False,
            is_acknowledged=False,
            due_at=first.at,
            provider_reference="",
            messages=(),
            history=(first,),
            version=1,
            position=first.position,
        )


def clearing_account(provider: str, asset: str) -> str:
    """Return the address of the account of what a provider has, or had to pay out, in an asset."""
    code, _ = split_asset(asset)
    return f"providers:{provider}:{code}"


def evolve(payout: Payout | None, recorded: Recorded) -> Payout:
    """Return the payout after an event of its stream."""
    event = recorded.event
    if isinstance(event, Requested):
        assert payout is None
        payout = _begun(event, recorded)
    else:
        assert payout is not None
        payout = _changed(payout, event, recorded.envelope.recorded_at)
    return payout._replace(
        history=(*payout.history, _step(payout.state, recorded)),
        version=recorded.version,
        position=recorded.position,
    )


def _begun(event: Requested, recorded: Recorded) -> Payout:
    envelope = recorded.envelope
    rejection = None
    if isinstance(event, PayoutRejected):
        rejection = Rejection(event.code, event.detail, event.details)
    return Payout(
        ledger=ledger_of(recorded.stream),
        id=name_of(recorded.stream),
        account=event.account,
        asset=event.asset,
        amount=event.amount,
        provider=event.provider,
        destination=event.destination,
        reference=event.reference,
        metadata=event.metadata,
        provider_key=event.provider_key if isinstance(event, PayoutAccepted) else "",
        state="rejected" if rejection else "accepted",
        money="released" if rejection else "held",
        booked_by=name_of(recorded.stream),
        attempts=0,
        waits=0,
        is_unknown=False,
        is_acknowledged=False,
        due_at=None if rejection else envelope.recorded_at,
        provider_reference="",
        messages=(),
        history=(),
        rejection=rejection,
        idempotency_key=envelope.idempotency_key or "",
        fingerprint=event.fingerprint,
        correlation_id=envelope.correlation_id,
        traceparent=envelope.traceparent,
        actor=envelope.actor,
        version=recorded.version,
        position=recorded.position,
    )


def _changed(payout: Payout, event: Event, at: Instant) -> Payout:
    if isinstance(event, Told):
        payout = payout._replace(
            provider_reference=event.provider_reference or payout.provider_reference,
            messages=payout.messages if event.message_id is None else (*payout.messages, event.message_id),
        )
    match event:
        case PayoutSubmitted(attempt=attempt, ask_at=ask_at):
            return payout._replace(state="submitted", attempts=attempt, is_unknown=False, due_at=ask_at)
        case PayoutUnanswered(ask_at=ask_at):
            return _doubted(payout)._replace(due_at=ask_at, waits=payout.waits + 1)
        case PayoutReported():
            return _reported(payout, event)
        case PayoutCompleted(booked_by=booked_by):
            return _ended(payout, "completed", "paid", booked_by)
        case PayoutFailed(booked_by=booked_by):
            return _ended(payout, "failed", "released", booked_by)
        case PayoutContradicted():
            return payout._replace(state="stuck", due_at=None)
        case PayoutReconciliationRequested():
            return payout._replace(due_at=at, waits=0)
    raise AssertionError(f"{type(event).__name__} does not change a payout")


def _doubted(payout: Payout) -> Payout:
    return payout._replace(state="in_doubt") if payout.state == "submitted" else payout


def _reported(payout: Payout, event: PayoutReported) -> Payout:
    payout = payout._replace(due_at=event.ask_at)
    if payout.state not in ("submitted", "in_doubt"):
        return payout
    payout = payout._replace(waits=payout.waits + 1)
    if event.verdict == "unknown":
        return _doubted(payout)._replace(is_unknown=True)
    return payout._replace(state="submitted", is_unknown=False, is_acknowledged=True)


def _ended(
    payout: Payout, state: Literal["completed", "failed"], money: Money, booked_by: str | None
) -> Payout:
    return payout._replace(
        state=state, money=money, booked_by=booked_by or payout.booked_by, due_at=None, is_acknowledged=True
    )


def _step(state: PayoutState, recorded: Recorded) -> Step:
    event, envelope = recorded.event, recorded.envelope
    detail = getattr(event, "detail", "") or getattr(event, "reason", "")
    return Step(
        state,
        event.TOPIC.partition(".")[2],
        getattr(event, "source", None),
        detail,
        envelope.actor,
        envelope.recorded_at,
        recorded.position,
    )


def existing_payout(state: Payout | None, id: str) -> Payout:
    """Return the payout of a folded stream; raise `PayoutNotFound` if nothing asked for it."""
    if state is None:
        raise payout_not_found(id)
    return state
