"""Ledgers: requests and answers."""

from typing import NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from api.http.fields import InstallationName, LedgerName, ListQuery, ProjectedQuery, Request
from api.http.models.formats import Instant
from api.http.models.metadata import Metadata
from domain.model.ledgers import Ledger


class LedgerRequest(Request):
    """A ledger to open."""

    name: LedgerName
    metadata: Metadata = Field(default_factory=dict)
    installation: InstallationName | None = Field(
        None, description="which installation of a placement is to hold it; the first by default"
    )


class LedgersQuery(ListQuery, ProjectedQuery):
    """The list of ledgers, in the order in which they were opened."""


class LedgerBody(TypedDict):
    """A ledger. `assets` are the assets of its accounts. `installation` holds it; only a placement says so."""

    name: str
    metadata: Metadata
    assets: list[str]
    version: int
    position: int
    opened_at: Instant
    installation: NotRequired[InstallationName]


def ledger_body(ledger: Ledger, installation: str | None = None) -> LedgerBody:
    """Return the body for a ledger, with the installation that holds it if it is given."""
    body: LedgerBody = {
        "name": ledger.name,
        "metadata": dict(ledger.metadata),
        "assets": [f"{code}/{scale}" for code, scale in sorted(ledger.assets.items())],
        "version": ledger.version,
        "position": ledger.position,
        "opened_at": ledger.opened_at,
    }
    if installation is not None:
        body["installation"] = installation
    return body
