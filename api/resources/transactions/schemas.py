"""Transactions: requests and answers."""

from typing import Annotated, Any, cast

from pydantic import Field, ValidationInfo, field_validator
from typing_extensions import TypedDict

from api.http.fields import Address, Amount, DryRun, Query, Request, Time, in_parts
from api.http.models.choices import Direction, TransactionKind, TransactionStatus
from api.http.models.formats import Id, Instant
from api.http.models.metadata import Metadata
from api.http.models.named_members import Named, ProblemCode
from domain.model.entries import MAX_ENTRIES, MIN_ENTRIES
from domain.model.transactions import Rejection, Transaction

MAX_REFERENCE_LENGTH = 255
MAX_DESCRIPTION_LENGTH = 1000


class EntryRequest(Request):
    """An entry to post."""

    account: Address
    direction: Direction
    amount: Amount


Entries = Annotated[
    list[EntryRequest], Field(min_length=MIN_ENTRIES, max_length=MAX_ENTRIES), in_parts(MAX_ENTRIES, part=10)
]


class DescribedRequest(Request):
    """The members that every request for a transaction may have."""

    reference: Annotated[str, Field(max_length=MAX_REFERENCE_LENGTH)] = ""
    description: Annotated[str, Field(max_length=MAX_DESCRIPTION_LENGTH)] = ""
    metadata: Metadata = Field(default_factory=dict)


class TransactionRequest(DescribedRequest):
    """A transaction to post, or a hold to make."""

    entries: Entries
    pending: bool = False
    expires_at: Time | None = None
    effective_at: Time | None = None

    @field_validator("expires_at")
    @classmethod
    def _only_holds_expire(cls, expires_at: str | None, info: ValidationInfo) -> str | None:
        if expires_at is not None and info.data.get("pending") is False:
            raise ValueError("only a hold expires: set pending to true")
        return expires_at


class SettleRequest(DescribedRequest):
    """A hold to settle: all of it, an `amount` if it has two entries, or parts of its entries."""

    entries: Entries | None = None
    amount: Amount | None = None

    @field_validator("amount")
    @classmethod
    def _is_without_entries(cls, amount: int | None, info: ValidationInfo) -> int | None:
        if amount is not None and info.data.get("entries") is not None:
            raise ValueError("give either amount or entries, not both")
        return amount


class VoidRequest(DescribedRequest):
    """A hold to release."""


class ReverseRequest(DescribedRequest):
    """A transaction to reverse: all that remains, or an `amount` if it has two entries."""

    amount: Amount | None = None
    effective_at: Time | None = None


class TransactionQuery(Query):
    """How to carry out the request."""

    dry_run: DryRun = False


class EntryBody(TypedDict):
    """An entry of a transaction. The amount is in minor units of its account's asset."""

    account: str
    direction: Direction
    amount: int


class RelatedTransactionsBody(TypedDict):
    """The transactions that this one settles, voids or reverses, or that settled, voided or reversed it."""

    settles: Id | None
    voids: Id | None
    reverses: Id | None
    settled_by: Id | None
    voided_by: Id | None
    reversed_by: list[Id]


class RejectionBody(Named):
    """Why a transaction was refused: the code and detail of a problem, and its further members."""

    code: ProblemCode
    detail: str


def rejection_body(rejection: Rejection | None) -> RejectionBody | None:
    """Return the body for a refusal."""
    if rejection is None:
        return None
    # The details are stored as they were first answered.
    body: Any = {"code": rejection.code, "detail": rejection.detail, **rejection.details}
    return cast(RejectionBody, body)


class TransactionBody(TypedDict):
    """A transaction: posted, held, or refused by a business rule."""

    id: Id
    ledger: str
    kind: TransactionKind
    status: TransactionStatus
    entries: list[EntryBody]
    reference: str
    description: str
    metadata: Metadata
    effective_at: Instant
    recorded_at: Instant
    expires_at: Instant | None
    idempotency_key: str
    correlation_id: str
    actor: str
    related: RelatedTransactionsBody
    rejection: RejectionBody | None
    version: int
    position: int


def transaction_body(transaction: Transaction) -> TransactionBody:
    """Return the body for a transaction."""
    related = transaction.related
    return {
        "id": transaction.id,
        "ledger": transaction.ledger,
        "kind": transaction.kind,
        "status": transaction.status,
        "entries": [
            {"account": entry.account, "direction": entry.direction, "amount": entry.amount}
            for entry in transaction.entries
        ],
        "reference": transaction.reference,
        "description": transaction.description,
        "metadata": dict(transaction.metadata),
        "effective_at": transaction.effective_at,
        "recorded_at": transaction.recorded_at,
        "expires_at": transaction.expires_at,
        "idempotency_key": transaction.idempotency_key,
        "correlation_id": transaction.correlation_id,
        "actor": transaction.actor,
        "related": {
            "settles": related.settles,
            "voids": related.voids,
            "reverses": related.reverses,
            "settled_by": related.settled_by,
            "voided_by": related.voided_by,
            "reversed_by": list(related.reversed_by),
        },
        "rejection": rejection_body(transaction.rejection),
        "version": transaction.version,
        "position": transaction.position,
    }
