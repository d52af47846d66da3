"""Ledgers: open, show and list them."""

from functools import partial

from api.http import examples
from api.http.consistency import Consistency
from api.http.declaration import CLIENT, READER, Concerns, Declaration, NoQuery, Returns
from api.http.endpoint import Call, Endpoint
from api.http.fields import LedgerName, Page, Time
from api.http.pages import PAGE_BYTES, projected_page
from api.http.read_your_writes import read_projection
from api.http.responses import POSITION, Answer, json_answer
from api.resources.ledgers.schemas import LedgerBody, LedgerRequest, LedgersQuery, ledger_body
from domain.model.errors import LedgerExists
from domain.model.ledgers import OpenLedger
from projections.read_models.ledgers import LedgerPlace, list_ledgers


async def open_ledger(call: Call[NoQuery, LedgerRequest]) -> Answer:
    """Open a ledger. Idempotent: repeating it answers 200. Needs a key that was granted every ledger."""
    command = OpenLedger(call.context, call.body.name, call.body.metadata)
    outcome = await call.service.writer.perform(command)
    headers = {POSITION: str(outcome.position), "Location": f"/v1/ledgers/{call.body.name}"}
    return json_answer(201 if outcome.recorded else 200, ledger_body(outcome.state), headers)


async def get_ledgers(call: Call[LedgersQuery, None]) -> Answer:
    """List the ledgers that the key was granted, oldest first."""
    query = call.query
    read = partial(
        list_ledgers,
        after=LedgerPlace(*call.cursor_position) if call.cursor_position else None,
        limit=query.page_size + 1,
        most_bytes=PAGE_BYTES,
        descending=query.descending,
        granted=call.caller.granted,
    )
    found = await read_projection(call, "ledgers", read)
    return projected_page(call, found, ledger_body, lambda ledger: LedgerPlace(ledger.opened_at, ledger.name))


async def get_ledger(call: Call[NoQuery, None]) -> Answer:
    """Show one ledger. It is read from the journal, so every write acknowledged before is seen."""
    ledger, head = await call.service.read(call.service.ledger.ledger, call.ledger)
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
                Returns(201, "The ledger was opened.", LedgerBody, examples.LEDGER, ("Location",)),
                Returns(200, "The ledger was already open.", LedgerBody, examples.LEDGER, ("Location",)),
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
            "Show a ledger",
            Consistency.LINEARIZABLE,
            READER,
            (Returns(200, "The ledger.", LedgerBody, examples.LEDGER),),
        ),
        get_ledger,
    ),
]
