"""Ledgers: requests and answers."""

from pydantic import Field
from typing_extensions import TypedDict

from api.http.fields import LedgerName, ListQuery, ProjectedQuery, Request
from api.http.models.formats import Instant
from api.http.models.metadata import Metadata
from domain.model.ledgers import Ledger


class LedgerRequest(Request):
    """A ledger to open."""

    name: LedgerName
    metadata: Metadata = Field(default_factory=dict)


class LedgersQuery(ListQuery, ProjectedQuery):
    """The list of ledgers, in the order in which they were opened."""


class LedgerBody(TypedDict):
    """A ledger. `assets` are the assets of its accounts."""

    name: str
    metadata: Metadata
    assets: list[str]
    version: int
    position: int
    opened_at: Instant


def ledger_body(ledger: Ledger) -> LedgerBody:
    """Return the body for a ledger."""
    return {
        "name": ledger.name,
        "metadata": dict(ledger.metadata),
        "assets": [f"{code}/{scale}" for code, scale in sorted(ledger.assets.items())],
        "version": ledger.version,
        "position": ledger.position,
        "opened_at": ledger.opened_at,
    }
