"""Payouts: requests, resolutions and answers."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue
from pydantic_core import to_json
from typing_extensions import TypeAliasType, TypedDict

from api.http.fields import Address, Amount, ListQuery, ProjectedQuery, Request, RequiredReason
from api.http.models.choices import PayoutState
from api.http.models.formats import Id, Instant
from api.http.models.metadata import Metadata
from api.resources.transactions.schemas import RejectionBody, rejection_body
from domain.model.money import MAX_AMOUNT
from domain.model.payouts.payout import Payout, Source, Step
from domain.model.streams import ADDRESS_PATTERN, LEDGER_PATTERN, MAX_ADDRESS_LENGTH, PROVIDER_PATTERN

MAX_DESTINATION_BYTES = 8 * 1024


def _is_exact(destination: dict[str, Any]) -> dict[str, Any]:
    """Refuse a destination that would not reach the provider exactly as it was sent."""
    if len(to_json(destination)) > MAX_DESTINATION_BYTES:
        raise ValueError(f"must have at most {MAX_DESTINATION_BYTES} bytes as JSON")
    if not all(isinstance(number, int) and abs(number) <= MAX_AMOUNT for number in _numbers(destination)):
        raise ValueError("numbers must be whole and within ±9007199254740991; write others as text")
    return destination


def _numbers(value: Any) -> Iterator[float]:
    match value:
        case int() | float():
            yield value
        case list():
            for item in value:
                yield from _numbers(item)
        case dict():
            for item in value.values():
                yield from _numbers(item)


Destination = Annotated[
    dict[str, JsonValue],
    AfterValidator(_is_exact),
    Field(
        description="where the money goes, in the provider's own terms; at most 8 KiB. With the provider `bridge`:"
        ' `{"ledger": …, "account": …}`, an account of another ledger'
    ),
]


PayoutSource = TypeAliasType("PayoutSource", Source)


class PayoutRequest(Request):
    """An amount of an account to be paid out through a provider."""

    account: Address
    amount: Amount
    provider: Annotated[str, Field(pattern=PROVIDER_PATTERN, examples=["simulator"])]
    destination: Destination
    reference: Annotated[str, Field(max_length=255)] = ""
    metadata: Metadata = Field(default_factory=dict)


class BridgeDestination(Request):
    """The destination of a bridge: an account of another ledger."""

    ledger: Annotated[str, Field(pattern=LEDGER_PATTERN)]
    account: Address


class PayoutFailure(RequiredReason):
    """How an operator knows that the money has not left. While it may have left, `confirm` is needed."""

    confirm: Annotated[
        Literal["not_paid"] | None,
        Field(
            description="needed while the payout is submitted or in doubt: the money may have left, and failing the"
            " payout gives it back to the account"
        ),
    ] = None


class PayoutsQuery(ListQuery, ProjectedQuery):
    """The filters of the list of payouts. An empty filter is no filter."""

    state: PayoutState | Literal[""] = ""
    account: Annotated[
        str, Field(pattern=f"^(?:{ADDRESS_PATTERN[1:-1]})?$", max_length=MAX_ADDRESS_LENGTH)
    ] = Field("", description="the address of the account that pays")
    provider: Annotated[str, Field(pattern=f"^(?:{PROVIDER_PATTERN[1:-1]})?$")] = ""


class PayoutStepBody(TypedDict):
    """One event of the history: the state after it, what happened, who reported it and in which words."""

    state: PayoutState
    event: str
    source: PayoutSource | None
    detail: str
    actor: str
    time: Instant
    position: int


class PayoutBody(TypedDict):
    """A payout.

    `hold_id` is the transaction that holds its amount. `transaction_id` is the transaction that ended the hold, or the
    one made later by an operator's resolution. `due_at` is when the ledger acts next, at the
    latest: it asks sooner once a silent provider answers again.
    """

    id: Id
    ledger: str
    account: str
    amount: int
    asset: str
    provider: str
    destination: dict[str, JsonValue]
    reference: str
    metadata: Metadata
    state: PayoutState
    provider_key: str
    provider_reference: str
    hold_id: Id
    transaction_id: Id | None
    attempts: int
    due_at: Instant | None
    accepted_at: Instant
    ended_at: Instant | None
    history: list[PayoutStepBody]
    rejection: RejectionBody | None
    idempotency_key: str
    correlation_id: str
    actor: str
    version: int
    position: int


def payout_body(payout: Payout) -> PayoutBody:
    """Return the body for a payout."""
    return {
        "id": payout.id,
        "ledger": payout.ledger,
        "account": payout.account,
        "amount": payout.amount,
        "asset": payout.asset,
        "provider": payout.provider,
        "destination": dict(payout.destination),
        "reference": payout.reference,
        "metadata": dict(payout.metadata),
        "state": payout.state,
        "provider_key": payout.provider_key,
        "provider_reference": payout.provider_reference,
        "hold_id": payout.id,
        "transaction_id": None if payout.booked_by == payout.id else payout.booked_by,
        "attempts": payout.attempts,
        "due_at": payout.due_at,
        "accepted_at": payout.accepted_at,
        "ended_at": payout.ended_at,
        "history": [_step_body(step) for step in payout.history],
        "rejection": rejection_body(payout.rejection),
        "idempotency_key": payout.idempotency_key,
        "correlation_id": payout.correlation_id,
        "actor": payout.actor,
        "version": payout.version,
        "position": payout.position,
    }


def _step_body(step: Step) -> PayoutStepBody:
    return {
        "state": step.state,
        "event": step.event,
        "source": step.source,
        "detail": step.detail,
        "actor": step.actor,
        "time": step.at,
        "position": step.position,
    }
