"""Transactions, as they are asked for and shown."""

from typing import Annotated

from pydantic import ConfigDict, Field, field_validator
from typing_extensions import TypedDict

from api.schemas.common import Address, Amount, Metadata, Request, Time
from domain.entries import MAX_ENTRIES, MIN_ENTRIES, Entry
from domain.money import Direction
from domain.times import Instant
from domain.transactions import Kind, Status, Transaction

_NO_HOLDS = "holds are not available in this release"


class EntryRequest(Entry):
    """An entry to post. It is the domain's own entry, and only checked more closely."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    account: Address
    direction: Direction
    amount: Amount


class TransactionRequest(Request):
    """A transaction to post."""

    entries: Annotated[list[EntryRequest], Field(min_length=MIN_ENTRIES, max_length=MAX_ENTRIES)]
    pending: bool = False
    expires_at: Time | None = None
    effective_at: Time | None = None
    reference: Annotated[str, Field(max_length=255)] = ""
    description: Annotated[str, Field(max_length=1000)] = ""
    metadata: Metadata = Field(default_factory=dict)

    @field_validator("pending")
    @classmethod
    def _is_no_hold(cls, pending: bool) -> bool:
        if pending:
            raise ValueError(_NO_HOLDS)
        return pending

    @field_validator("expires_at")
    @classmethod
    def _never_expires(cls, expires_at: str | None) -> str | None:
        if expires_at is not None:
            raise ValueError(_NO_HOLDS)
        return expires_at


class EntryBody(TypedDict):
    """An entry of a transaction, its amount in minor units of its account's asset."""

    account: str
    direction: Direction
    amount: int


class RelatedBody(TypedDict):
    """The ids of the transactions that this one settles, voids or reverses, or that did so to it."""

    settles: str | None
    voids: str | None
    reverses: str | None
    settled_by: str | None
    voided_by: str | None
    reversed_by: list[str]


class RejectionBody(TypedDict):
    """Why a transaction was refused: a problem's code, and its words."""

    code: str
    detail: str


class TransactionBody(TypedDict):
    """A transaction: posted, or refused by a business rule."""

    id: str
    ledger: str
    kind: Kind
    status: Status
    entries: list[EntryBody]
    reference: str
    description: str
    metadata: dict[str, str]
    effective_at: Instant
    recorded_at: Instant
    expires_at: Instant | None
    idempotency_key: str
    correlation_id: str
    actor: str
    related: RelatedBody
    rejection: RejectionBody | None
    version: int
    position: int


def transaction_body(transaction: Transaction) -> TransactionBody:
    """Return a transaction as it is shown."""
    related, rejection = transaction.related, transaction.rejection
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
        "rejection": {"code": rejection.code, "detail": rejection.detail} if rejection else None,
        "version": transaction.version,
        "position": transaction.position,
    }
