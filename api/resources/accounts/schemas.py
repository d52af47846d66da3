"""Accounts and their statements: requests and answers."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from typing_extensions import TypeAliasType, TypedDict

from api.http.fields import (
    Address,
    AddressPrefix,
    Asset,
    Limit,
    ListQuery,
    MetadataQuery,
    Position,
    ProjectedQuery,
    Request,
    Time,
)
from api.http.models.choices import Clock, Direction, TransactionKind
from api.http.models.formats import Id, Instant
from api.http.models.metadata import Metadata
from domain.model import accounts
from domain.model.accounts import Account
from domain.model.money import ASSET_PATTERN
from projections.diagnosis.glossary import meanings
from projections.read_models.entries import StatementEntry

AccountStatus = TypeAliasType(
    "AccountStatus", Annotated[accounts.Status, Field(description=meanings("account"))]
)
ReadConsistency = TypeAliasType("ReadConsistency", Literal["strong", "eventual"])


class AccountRequest(Request):
    """An account to open. A limit that is null or left out means no limit."""

    address: Address
    asset: Asset
    normal_side: Direction
    min_balance: Limit = None
    max_balance: Limit = None
    metadata: Metadata = Field(default_factory=dict)


class AccountChange(Request):
    """A change of an account. Members left out stay as they are; `metadata` is replaced whole."""

    metadata: Metadata = Field(default_factory=dict)
    min_balance: Limit = None
    max_balance: Limit = None


class AccountQuery(ProjectedQuery):
    """How to read one account: from the journal, now or in the past, or from the projection."""

    consistency: ReadConsistency = Field(
        "strong", description="`eventual` reads the projection, which must have reached `min_position`"
    )
    at_position: Position | None = Field(
        None, description="show the account as it stood right after this position of the journal"
    )
    at: Time | None = Field(None, description="show the account as it stood at this recorded time, inclusive")

    @field_validator("at_position", "at")
    @classmethod
    def _is_the_only_choice(cls, given: object, info: ValidationInfo) -> object:
        if info.data.get("consistency") == "eventual":
            raise ValueError("cannot be combined with consistency=eventual: the projection has no history")
        if info.data.get("at_position") is not None:
            raise ValueError("cannot be combined with at_position: give one of them")
        return given

    @property
    def past(self) -> int | Instant | None:
        """The position or the recorded time asked for, None for the present."""
        return self.at if self.at_position is None else self.at_position


class AccountsQuery(MetadataQuery, ListQuery, ProjectedQuery):
    """The filters of the list of accounts. An empty filter is no filter."""

    prefix: AddressPrefix = Field("", description="only accounts whose address begins with this")
    asset: Annotated[str, Field(pattern=f"^(?:{ASSET_PATTERN[1:-1]})?$")] = ""
    status: AccountStatus | Literal[""] = ""


class EntriesQuery(ListQuery, ProjectedQuery):
    """The filters of an account's statement. `from` is inclusive and `to` exclusive, both on the chosen clock."""

    since: Time | None = Field(None, alias="from")
    until: Time | None = Field(None, alias="to")
    clock: Clock = "recorded"


class AccountSums(TypedDict):
    """Sums of debits and credits, in minor units."""

    debits: int
    credits: int


class AccountBody(TypedDict):
    """An account. Amounts are in minor units of its asset."""

    ledger: str
    address: str
    asset: str
    normal_side: Direction
    status: AccountStatus
    min_balance: int | None
    max_balance: int | None
    metadata: Metadata
    posted: AccountSums
    pending: AccountSums
    balance: int
    available: int
    version: int
    position: int
    opened_at: Instant


def account_body(account: Account) -> AccountBody:
    """Return the body for an account."""
    return {
        "ledger": account.ledger,
        "address": account.address,
        "asset": account.asset,
        "normal_side": account.normal_side,
        "status": account.status,
        "min_balance": account.min_balance,
        "max_balance": account.max_balance,
        "metadata": dict(account.metadata),
        "posted": {"debits": account.posted_debits, "credits": account.posted_credits},
        "pending": {"debits": account.pending_debits, "credits": account.pending_credits},
        "balance": account.balance,
        "available": account.available,
        "version": account.version,
        "position": account.position,
        "opened_at": account.opened_at,
    }


class StatementEntryBody(TypedDict):
    """A posted entry. `balance_after` runs in the order of the statement's clock."""

    transaction_id: Id
    kind: TransactionKind
    direction: Direction
    amount: int
    balance_after: int
    effective_at: Instant
    recorded_at: Instant
    position: int
    reference: str


def statement_entry_body(entry: StatementEntry) -> StatementEntryBody:
    """Return the body for an entry of a statement."""
    return {
        "transaction_id": entry.transaction_id,
        "kind": entry.kind,
        "direction": entry.direction,
        "amount": entry.amount,
        "balance_after": entry.balance_after,
        "effective_at": entry.effective_at,
        "recorded_at": entry.recorded_at,
        "position": entry.position,
        "reference": entry.reference,
    }
