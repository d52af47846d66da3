"""The list of payouts."""

from functools import partial
from typing import Annotated

from pydantic import Field

from api import examples
from api.answers import Answer
from api.consistency import Consistency
from api.declaration import OPERATOR, READER, Declaration, Returns
from api.disclosure import payout_as_told
from api.endpoint import Asked, Endpoint
from api.lists import PAGE_BYTES, projected_page
from api.schemas.common import MAX_POSITION, Page
from api.schemas.payouts import PayoutBody, PayoutsQuery, payout_body
from api.waiting import read_projection
from domain.payouts import Payout
from projections.payouts import PROJECTION, Filters, list_payouts

_Place = Annotated[int, Field(strict=True, ge=1, le=MAX_POSITION - 1)]


async def get_payouts(asked: Asked[PayoutsQuery, None]) -> Answer:
    """List the payouts of a ledger, rejected ones included, by when they were asked for. Filters are combined."""
    query = asked.query
    await asked.service.read(asked.service.ledger.book, asked.ledger)
    read = partial(
        list_payouts,
        ledger=asked.ledger,
        filters=Filters(query.state or None, query.account or None, query.provider or None),
        after=asked.place,
        limit=query.page_size + 1,
        most_bytes=PAGE_BYTES,
        descending=query.descending,
    )
    found = await read_projection(asked, PROJECTION.name, read)

    def shown(payout: Payout) -> PayoutBody:
        return payout_body(payout_as_told(payout, asked.caller))

    return projected_page(asked, found, shown, lambda payout: payout.made_position)


ENDPOINTS = [
    Endpoint(
        Declaration(
            "GET",
            "/v1/ledgers/{ledger}/payouts",
            "list_payouts",
            "Payouts",
            "List payouts",
            Consistency.PROJECTION,
            READER | OPERATOR,
            (Returns(200, "A page of payouts.", Page[PayoutBody], examples.page(examples.PAYOUT)),),
            query=PayoutsQuery,
            place=_Place,
        ),
        get_payouts,
    ),
]
