"""Accounts and their statements, as they are asked for and shown."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from typing_extensions import TypedDict

from api.http.fields import (
    Address,
    AddressPrefix,
    Asset,
    Limit,
    ListQuery,
    Metadata,
    MetadataQuery,
    Position,
    ProjectedQuery,
    Request,
    Time,
)
from domain.model.accounts import Account, Status
from domain.model.money import ASSET_PATTERN, Direction
from domain.model.times import Instant
from domain.model.transactions import Kind
from projections.read_models.entries import Clock, StatementEntry


class AccountRequest(Request):
    """An account to open; a limit that is null or left out is none."""

    address: Address
    asset: Asset
    normal_side: Direction
    min_balance: Limit = None
    max_balance: Limit = None
    metadata: Metadata = Field(default_factory=dict)


class AccountChange(Request):
    """What is to change of an account; what is left out stays. `metadata` is replaced whole."""

    metadata: Metadata = Field(default_factory=dict)
    min_balance: Limit = None
    max_balance: Limit = None


class StatusChange(Request):
    """Why an account is frozen, unfrozen or closed."""

    reason: Annotated[str, Field(max_length=500)] = ""


class AccountQuery(ProjectedQuery):
    """One account: from the journal, as it is or as it stood, or from the projection."""

    consistency: Literal["strong", "eventual"] = Field(
        "strong", description="`eventual` reads the projection, which is to have reached `min_position`"
    )
    at_position: Position | None = Field(
        None, description="the account as it stood at this position of the journal, that included"
    )
    at: Time | None = Field(
        None, description="the account as it stood at this instant of recorded time, that included"
    )

    @field_validator("at_position", "at")
    @classmethod
    def _is_of_the_journal_and_alone(cls, given: object, info: ValidationInfo) -> object:
        if info.data.get("consistency") == "eventual":
            raise ValueError("is not for consistency=eventual: the projection has no history")
        if info.data.get("at_position") is not None:
            raise ValueError("is given beside at_position, which says it otherwise")
        return given

    @property
    def past(self) -> int | Instant | None:
        """The position or the recorded instant that is asked for, None for the present."""
        return self.at if self.at_position is None else self.at_position


class AccountsQuery(MetadataQuery, ListQuery, ProjectedQuery):
    """The list of accounts, by address; an empty filter filters nothing."""

    prefix: AddressPrefix = Field("", description="what addresses begin with")
    asset: Annotated[str, Field(pattern=f"^(?:{ASSET_PATTERN[1:-1]})?$")] = ""
    status: Literal[Status, ""] = ""


class EntriesQuery(ListQuery, ProjectedQuery):
    """The statement of an account. `from` is inclusive, `to` exclusive, both by the clock."""

    since: Time | None = Field(None, alias="from")
    until: Time | None = Field(None, alias="to")
    clock: Clock = "recorded"


class Sums(TypedDict):
    """Sums of amounts on both sides, in minor units."""

    debits: int
    credits: int


class AccountBody(TypedDict):
    """An account, amounts in minor units of its asset."""

    ledger: str
    address: str
    asset: str
    normal_side: Direction
    status: Status
    min_balance: int | None
    max_balance: int | None
    metadata: dict[str, str]
    posted: Sums
    pending: Sums
    balance: int
    available: int
    version: int
    position: int
    opened_at: Instant


def account_body(account: Account) -> AccountBody:
    """Return an account as it is shown."""
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
    """A posted entry; `balance_after` runs in the order of the statement's clock."""

    transaction_id: str
    kind: Kind
    direction: Direction
    amount: int
    balance_after: int
    effective_at: Instant
    recorded_at: Instant
    position: int
    reference: str


def statement_entry_body(entry: StatementEntry) -> StatementEntryBody:
    """Return an entry of a statement as it is shown."""
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
