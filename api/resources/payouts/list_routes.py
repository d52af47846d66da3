"""The list of payouts."""

from functools import partial
from typing import Annotated

from pydantic import Field

from api.http import examples
from api.http.consistency import Consistency
from api.http.declaration import OPERATOR, READER, Declaration, Returns
from api.http.disclosure import payout_as_told
from api.http.endpoint import Asked, Endpoint
from api.http.fields import MAX_POSITION, Page
from api.http.pages import projected_page
from api.http.read_your_writes import read_projection
from api.http.responses import Answer
from api.resources.payouts.schemas import PayoutBody, PayoutsQuery, payout_body
from domain.model.payouts.payout import Payout
from projections.read_models.payouts import PROJECTION, Filters, list_payouts

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
