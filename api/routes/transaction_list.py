"""The list of transactions."""

from functools import partial
from typing import Annotated

from pydantic import Field

from api import examples
from api.answers import Answer
from api.consistency import Consistency
from api.declaration import READER, Declaration, Returns
from api.endpoint import Asked, Endpoint
from api.lists import PAGE_BYTES, projected_page
from api.schemas.common import MAX_POSITION, Page
from api.schemas.transaction_list import TransactionsQuery
from api.schemas.transactions import TransactionBody, transaction_body
from api.waiting import read_projection
from projections.transaction_list import Filters, list_transactions
from projections.transactions import PROJECTION

_Place = Annotated[int, Field(strict=True, ge=1, le=MAX_POSITION - 1)]


async def get_transactions(asked: Asked[TransactionsQuery, None]) -> Answer:
    """List the transactions of a ledger, rejected ones included, by when they were recorded. Filters are combined.

    What was accepted to be carried out later is listed once it has been.
    """
    query = asked.query
    await asked.service.read(asked.service.ledger.book, asked.ledger)
    read = partial(
        list_transactions,
        ledger=asked.ledger,
        filters=Filters(**{name: getattr(query, name) or None for name in Filters._fields}),
        after=asked.place,
        limit=query.page_size + 1,
        most_bytes=PAGE_BYTES,
        descending=query.descending,
    )
    found = await read_projection(asked, PROJECTION.name, read)
    return projected_page(asked, found, transaction_body, lambda transaction: transaction.made_position)


ENDPOINTS = [
    Endpoint(
        Declaration(
            "GET",
            "/v1/ledgers/{ledger}/transactions",
            "list_transactions",
            "Transactions",
            "List transactions",
            Consistency.PROJECTION,
            READER,
            (
                Returns(
                    200,
                    "A page of transactions.",
                    Page[TransactionBody],
                    examples.page(examples.TRANSACTION),
                ),
            ),
            query=TransactionsQuery,
            place=_Place,
        ),
        get_transactions,
    ),
]
