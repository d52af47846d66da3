"""Payouts: money that leaves the ledger through a provider, with a state for everything that can be known about it.

A payout is a keyed request. Its hold is the transaction with the payout's id, so that one key begins one stream of
transactions, whatever was requested. The payout's own events are in a stream of their own. A provider that does not
answer has not failed: the payout is in doubt until the provider, asked under the same provider key, says what it did. A
report that contradicts the record moves no money: the payout is stuck until an operator resolves it. `requests`,
`attempts`, `reports` and `resolutions` make the decisions.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from domain.model.events import Event, Recorded
from domain.model.ids import Id
from domain.model.money import split_asset
from domain.model.payouts.bridges import bridge_account, is_bridge
from domain.model.refusals import payout_not_found
from domain.model.streams import ledger_of, name_of
from domain.model.times import Instant, later
from domain.model.transactions import Rejection

PayoutState = Literal["accepted", "submitted", "in_doubt", "completed", "failed", "stuck", "rejected"]
Verdict = Literal["processing", "completed", "failed", "unknown"]
"""What a provider says about a payout. `unknown` means that it never heard of the payout."""

Source = Literal["submission", "inquiry", "callback", "operator", "ledger"]
"""Who said it: the provider, in answer to a submission or an inquiry, or in a callback; an operator; or the ledger."""

Money = Literal["held", "paid", "released"]
"""Where the money is by the ledger's books: waiting in the hold, paid out, or back in the account."""

FIRST_INQUIRY_SECONDS = 0.5
LONGEST_INQUIRY_SECONDS = 300.0
LONGEST_SILENT_SECONDS = 3600.0
"""The longest wait of a payout whose provider answers nobody, so that a long outage records little of each payout."""
# The waits of such a payout begin after this many doublings.
SILENT_DOUBLINGS = 9
# How many steps of the history are searched for waits, so that a long history does not slow a decision.
MAX_STEPS_LOOKED_AT = 64


class Told(Event):
    """What somebody said about a payout. `message_id` is the id of the callback, if a callback said it."""

    source: Source
    detail: str
    provider_reference: str
    message_id: str | None


class Requested(Event):
    """The content of the request. `fingerprint` identifies it."""

    fingerprint: str
    account: str
    asset: str
    amount: int
    provider: str
    destination: dict[str, Any]
    reference: str
    metadata: dict[str, str]


class PayoutAccepted(Requested):
    """A payout was accepted, and its amount is held. The provider will know the payout by `provider_key`."""

    TOPIC: ClassVar[str] = "payout.accepted"

    provider_key: str


class PayoutRejected(Requested):
    """A business rule refused a payout. `code` and `details` are those of the problem.

    The transaction with the payout's id was rejected.
    """

    TOPIC: ClassVar[str] = "payout.rejected"
    class_version: ClassVar[int] = 2

    code: str
    detail: str
    details: dict[str, Any]

    @staticmethod
    def upcast_v1_v2(data: dict[str, Any]) -> None:
        """Version 1 did not store the details of a refusal. Its answer had none, and has none when replayed."""
        data["details"] = {}


class PayoutSubmitted(Event):
    """The provider is about to be called. If no result is recorded by `ask_at`, the provider is asked what it did."""

    TOPIC: ClassVar[str] = "payout.submitted"

    attempt: int
    ask_at: Instant


class PayoutUnanswered(Event):
    """A submission or an inquiry got no usable answer. The provider is asked at `ask_at`."""

    TOPIC: ClassVar[str] = "payout.unanswered"

    source: Source
    detail: str
    ask_at: Instant


class PayoutReported(Told):
    """The provider's report does not end the payout. If an answer is missing, it is asked at `ask_at`."""

    TOPIC: ClassVar[str] = "payout.reported"

    verdict: Verdict
    ask_at: Instant | None


class PayoutCompleted(Told):
    """The money has left. `booked_by` is the transaction that booked this, or null if it was booked before."""

    TOPIC: ClassVar[str] = "payout.completed"

    booked_by: Id | None


class PayoutFailed(Told):
    """The money will not leave. `booked_by` is the transaction that returned it, or null if it was returned before."""

    TOPIC: ClassVar[str] = "payout.failed"

    booked_by: Id | None


class PayoutContradicted(Told):
    """The provider's report contradicts the record. `detail` says how. An operator must resolve it."""

    TOPIC: ClassVar[str] = "payout.contradicted"

    verdict: Verdict
    amount: int | None
    asset: str | None


class PayoutReconciliationRequested(Event):
    """An operator asked for the provider to be asked now."""

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
    """One event in a payout's history: the state after it, the event's name, its source and its detail."""

    state: PayoutState
    event: str
    source: Source | None
    detail: str
    actor: str
    at: Instant
    position: int


class Payout(NamedTuple):
    """A payout, folded.

    `attempts` counts submissions, `waits` consecutive answers that did not end the payout. `due_at` is when the ledger
    must act, or None if it need not. `is_unknown`: the provider said that it never heard of the payout.
    `is_acknowledged`: the provider knows it. `money` is where the money is by the books, and `booked_by` the
    transaction that put it there. `messages` are the ids of the recorded callbacks.
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
        """The position of the payout's first event."""
        return self.history[0].position

    @property
    def accepted_at(self) -> Instant:
        """When the request was recorded."""
        return self.history[0].at

    @property
    def changed_at(self) -> Instant:
        """When the payout's last event was recorded."""
        return self.history[-1].at

    @property
    def ended_at(self) -> Instant | None:
        """When the payout was completed, failed or rejected, or None if its state is none of these."""
        if self.state not in ("completed", "failed", "rejected"):
            return None
        return next(step.at for step in reversed(self.history) if step.event == self.state)

    @property
    def clearing_account(self) -> str:
        """The address of the clearing account that the money goes to."""
        return clearing_account(self.provider, self.destination, self.asset)

    @property
    def is_bridge(self) -> bool:
        """Whether the provider is another ledger."""
        return is_bridge(self.provider, self.destination)

    @property
    def is_to_be_submitted(self) -> bool:
        """Whether to call the provider: it was never called, or says that it never heard of the payout."""
        return self.state == "accepted" or (self.state == "in_doubt" and self.is_unknown)

    def next_inquiry(self, now: Instant, *, is_answered: bool, is_silent: bool = False) -> Instant:
        """Return when to ask the provider next, at the latest. `is_answered`: it answered this time, without an end.

        Each wait is twice the one before it, up to `LONGEST_INQUIRY_SECONDS`. The waits start again when a silent
        provider answers, and when an answering provider falls silent: how long it was in one condition says nothing
        about the other. `is_silent`: it answers nobody. The waits are then longer, up to `LONGEST_SILENT_SECONDS`.
        """
        doublings = self._waits_in_a_row(is_answered=is_answered)
        if is_silent:
            seconds = min(
                FIRST_INQUIRY_SECONDS * 2.0 ** (doublings + SILENT_DOUBLINGS), LONGEST_SILENT_SECONDS
            )
        else:
            seconds = min(FIRST_INQUIRY_SECONDS * 2.0**doublings, LONGEST_INQUIRY_SECONDS)
        return later(now, seconds)

    def _waits_in_a_row(self, *, is_answered: bool) -> int:
        """Return how many consecutive waits of one kind the history ends with: for an answer, or for an end.

        `unknown` from the provider counts as no answer, because the payout is submitted again at once.
        """
        waits = 0
        for step in reversed(self.history[-MAX_STEPS_LOOKED_AT:]):
            if step.event == "submitted" or (step.source == "callback" and is_answered):
                continue
            was_answered = step.event == "reported" and step.state == "submitted"
            if step.event not in ("reported", "unanswered") or was_answered != is_answered:
                break
            waits += 1
        return waits

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


def clearing_account(provider: str, destination: Mapping[str, Any], asset: str) -> str:
    """Return the address of the account of our money at a provider; below zero, the provider has paid first.

    For a bridge it is the account of the ledger that it leads to.
    """
    if is_bridge(provider, destination):
        return bridge_account(destination["ledger"], asset)
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
    """Return the payout of a folded stream; raise `PayoutNotFound` if the stream has no events."""
    if state is None:
        raise payout_not_found(id)
    return state
