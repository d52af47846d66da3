"""The list of payouts."""

from functools import partial
from typing import Annotated

from pydantic import Field

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import OPERATOR, READER, Returns
from api.http.disclosure import payout_as_told
from api.http.endpoint import endpoint
from api.http.fields import MAX_POSITION, Page
from api.http.pages import PAGE_BYTES, projected_page
from api.http.read_your_writes import read_projection
from api.http.responses import Answer
from api.resources.examples import page_of
from api.resources.payouts import examples
from api.resources.payouts.schemas import PayoutBody, PayoutsQuery, payout_body
from domain.model.payouts.payout import Payout
from domain.model.streams import ledger_stream
from projections.read_models import payouts
from projections.read_models.payouts import PROJECTION, PayoutFilters

_Place = Annotated[int, Field(strict=True, ge=1, le=MAX_POSITION - 1)]


@endpoint(
    "GET",
    "/v1/ledgers/{ledger}/payouts",
    summary="List payouts",
    tag="Payouts",
    consistency=Consistency.PROJECTION,
    roles=READER | OPERATOR,
    returns=[Returns(200, "A page of payouts.", Page[PayoutBody], page_of(examples.PAYOUT))],
    place=_Place,
)
async def list_payouts(call: Call[PayoutsQuery, None]) -> Answer:
    """List the payouts of a ledger in the order of their requests, including rejected ones. Filters are combined."""
    query = call.query
    read = partial(
        payouts.list_payouts,
        ledger=call.ledger,
        filters=PayoutFilters(query.state or None, query.account or None, query.provider or None),
        after=call.cursor_position,
        limit=query.page_size + 1,
        most_bytes=PAGE_BYTES,
        descending=query.descending,
    )
    found = await read_projection(call, PROJECTION.name, read, [ledger_stream(call.ledger)])

    def shown(payout: Payout) -> PayoutBody:
        return payout_body(payout_as_told(payout, call.caller))

    return projected_page(call, found, shown, lambda payout: payout.made_position)
