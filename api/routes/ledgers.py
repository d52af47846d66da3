"""Ledgers: open one, list them, look at one."""

from functools import partial

from api import examples
from api.answers import POSITION, Answer, json_answer
from api.consistency import Consistency
from api.declaration import CLIENT, READER, Concerns, Declaration, NoQuery, Returns
from api.endpoint import Asked, Endpoint
from api.lists import PAGE_BYTES, projected_page
from api.schemas.common import LedgerName, Page, Time
from api.schemas.ledgers import LedgerBody, LedgerRequest, LedgersQuery, ledger_body
from api.waiting import read_projection
from domain.errors import LedgerExists
from domain.ledgers import OpenLedger
from projections.ledgers import Place, list_ledgers


async def open_ledger(asked: Asked[NoQuery, LedgerRequest]) -> Answer:
    """Open a ledger. The same again changes nothing and answers 200. Needs a key that was granted every ledger."""
    command = OpenLedger(asked.context, asked.body.name, asked.body.metadata)
    outcome = await asked.service.writer.perform(command)
    headers = {POSITION: str(outcome.position), "Location": f"/v1/ledgers/{asked.body.name}"}
    return json_answer(201 if outcome.recorded else 200, ledger_body(outcome.state), headers)


async def get_ledgers(asked: Asked[LedgersQuery, None]) -> Answer:
    """List the ledgers that the key was granted, oldest first."""
    query = asked.query
    read = partial(
        list_ledgers,
        after=Place(*asked.place) if asked.place else None,
        limit=query.page_size + 1,
        most_bytes=PAGE_BYTES,
        descending=query.descending,
        granted=asked.caller.granted,
    )
    found = await read_projection(asked, "ledgers", read)
    return projected_page(asked, found, ledger_body, lambda ledger: Place(ledger.opened_at, ledger.name))


async def get_ledger(asked: Asked[NoQuery, None]) -> Answer:
    """Look at one ledger. A confirmation read."""
    ledger, head = await asked.service.read(asked.service.ledger.book, asked.ledger)
    return json_answer(200, ledger_body(ledger), {POSITION: str(head)})


ENDPOINTS = [
    Endpoint(
        Declaration(
            "POST",
            "/v1/ledgers",
            "open_ledger",
            "Ledgers",
            "Open a ledger",
            Consistency.LINEARIZABLE,
            CLIENT,
            (
                Returns(201, "The ledger, opened.", LedgerBody, examples.LEDGER, ("Location",)),
                Returns(
                    200, "The ledger, which was open before.", LedgerBody, examples.LEDGER, ("Location",)
                ),
            ),
            body=LedgerRequest,
            body_example=examples.LEDGER_REQUEST,
            concerns=Concerns.EVERY,
            problems=(LedgerExists,),
        ),
        open_ledger,
    ),
    Endpoint(
        Declaration(
            "GET",
            "/v1/ledgers",
            "list_ledgers",
            "Ledgers",
            "List ledgers",
            Consistency.PROJECTION,
            READER,
            (Returns(200, "A page of ledgers.", Page[LedgerBody], examples.page(examples.LEDGER)),),
            query=LedgersQuery,
            concerns=Concerns.GRANTED,
            place=tuple[Time, LedgerName],
        ),
        get_ledgers,
    ),
    Endpoint(
        Declaration(
            "GET",
            "/v1/ledgers/{ledger}",
            "get_ledger",
            "Ledgers",
            "Look at a ledger",
            Consistency.LINEARIZABLE,
            READER,
            (Returns(200, "The ledger.", LedgerBody, examples.LEDGER),),
        ),
        get_ledger,
    ),
]
