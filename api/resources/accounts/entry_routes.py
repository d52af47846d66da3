"""The statement of an account: its posted entries."""

from functools import partial
from typing import Annotated

from pydantic import Field

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import READER, Returns
from api.http.endpoint import endpoint
from api.http.fields import MAX_POSITION, Page, Time
from api.http.pages import projected_page
from api.http.read_your_writes import read_projection
from api.http.responses import Answer
from api.resources.accounts import examples
from api.resources.accounts.schemas import EntriesQuery, StatementEntryBody, statement_entry_body
from api.resources.examples import page_of
from domain.model.entries import MAX_ENTRIES
from domain.model.errors import AccountNotFound
from domain.model.streams import account_stream, ledger_stream
from projections.read_models import entries

_Place = tuple[
    Time,
    Annotated[int, Field(strict=True, ge=1, le=MAX_POSITION)],
    Annotated[int, Field(strict=True, ge=1, le=MAX_ENTRIES)],
]


@endpoint(
    "GET",
    "/v1/ledgers/{ledger}/accounts/{address}/entries",
    summary="Read an account's statement",
    tag="Accounts",
    consistency=Consistency.PROJECTION,
    roles=READER,
    returns=[
        Returns(200, "A page of the statement.", Page[StatementEntryBody], page_of(examples.STATEMENT_ENTRY))
    ],
    problems=[AccountNotFound],
    place=_Place,
)
async def list_entries(call: Call[EntriesQuery, None]) -> Answer:
    """List the posted entries of an account, with the balance after each.

    Entries and balances follow the order of the chosen clock. `from` is inclusive and `to` exclusive, both on that
    clock.
    """
    query, address = call.query, call.path_params["address"]
    read = partial(
        entries.list_entries,
        ledger=call.ledger,
        account=address,
        clock=query.clock,
        since=query.since,
        until=query.until,
        after=entries.StatementPlace(*call.cursor_position) if call.cursor_position else None,
        limit=query.page_size + 1,
        descending=query.descending,
    )
    existing = [ledger_stream(call.ledger), account_stream(call.ledger, address)]
    found = await read_projection(call, "entries", read, existing)
    return projected_page(call, found, statement_entry_body, lambda entry: entry.place(query.clock))
