"""The list of transactions."""

from functools import partial
from typing import Annotated

from pydantic import Field

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import READER, Returns
from api.http.endpoint import endpoint
from api.http.fields import MAX_POSITION, Page
from api.http.pages import PAGE_BYTES, projected_page
from api.http.read_your_writes import read_projection
from api.http.responses import Answer
from api.resources.examples import page_of
from api.resources.transactions import examples
from api.resources.transactions.list_schemas import TransactionsQuery
from api.resources.transactions.schemas import TransactionBody, transaction_body
from domain.model.streams import ledger_stream
from projections.read_models import transaction_list
from projections.read_models.transaction_list import TransactionFilters
from projections.read_models.transactions import PROJECTION

_Place = Annotated[int, Field(strict=True, ge=1, le=MAX_POSITION - 1)]


@endpoint(
    "GET",
    "/v1/ledgers/{ledger}/transactions",
    summary="List transactions",
    tag="Transactions",
    consistency=Consistency.PROJECTION,
    roles=READER,
    returns=[Returns(200, "A page of transactions.", Page[TransactionBody], page_of(examples.TRANSACTION))],
    place=_Place,
)
async def list_transactions(call: Call[TransactionsQuery, None]) -> Answer:
    """List the transactions of a ledger in the order in which they were recorded, including rejected ones. Filters are
    combined.

    A request that was accepted for later appears once it has been carried out.
    """
    query = call.query
    read = partial(
        transaction_list.list_transactions,
        ledger=call.ledger,
        filters=TransactionFilters(
            **{name: getattr(query, name) or None for name in TransactionFilters._fields}
        ),
        after=call.cursor_position,
        limit=query.page_size + 1,
        most_bytes=PAGE_BYTES,
        descending=query.descending,
    )
    found = await read_projection(call, PROJECTION.name, read, [ledger_stream(call.ledger)])
    return projected_page(call, found, transaction_body, lambda transaction: transaction.made_position)
