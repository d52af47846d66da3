"""Ledgers: open, show and list them."""

from functools import partial

from api.http.consistency import Consistency
from api.http.declaration import CLIENT, READER, Concerns, NoQuery, Returns
from api.http.endpoint import Call, endpoint
from api.http.fields import LedgerName, Page, Time
from api.http.pages import PAGE_BYTES, projected_page
from api.http.read_your_writes import read_projection
from api.http.responses import POSITION, Answer, json_answer
from api.resources.examples import page_of
from api.resources.ledgers import examples
from api.resources.ledgers.schemas import LedgerBody, LedgerRequest, LedgersQuery, ledger_body
from domain.model.errors import LedgerExists
from domain.model.ledgers import OpenLedger
from projections.read_models import ledgers
from projections.read_models.ledgers import LedgerPlace


@endpoint(
    "POST",
    "/v1/ledgers",
    summary="Open a ledger",
    tag="Ledgers",
    consistency=Consistency.LINEARIZABLE,
    roles=CLIENT,
    returns=[
        Returns(201, "The ledger was opened.", LedgerBody, examples.LEDGER, headers=("Location",)),
        Returns(200, "The ledger was already open.", LedgerBody, examples.LEDGER, headers=("Location",)),
    ],
    problems=[LedgerExists],
    body_example=examples.LEDGER_REQUEST,
    concerns=Concerns.EVERY,
)
async def open_ledger(call: Call[NoQuery, LedgerRequest]) -> Answer:
    """Open a ledger. Idempotent: repeating it answers 200. Needs a key that was granted every ledger."""
    command = OpenLedger(call.context, call.body.name, call.body.metadata)
    outcome = await call.service.writer.perform(command)
    headers = {POSITION: str(outcome.position), "Location": f"/v1/ledgers/{call.body.name}"}
    return json_answer(201 if outcome.recorded else 200, ledger_body(outcome.state), headers)


@endpoint(
    "GET",
    "/v1/ledgers",
    summary="List ledgers",
    tag="Ledgers",
    consistency=Consistency.PROJECTION,
    roles=READER,
    returns=[Returns(200, "A page of ledgers.", Page[LedgerBody], page_of(examples.LEDGER))],
    concerns=Concerns.GRANTED,
    place=tuple[Time, LedgerName],
)
async def list_ledgers(call: Call[LedgersQuery, None]) -> Answer:
    """List the ledgers that the key was granted, oldest first."""
    query = call.query
    read = partial(
        ledgers.list_ledgers,
        after=LedgerPlace(*call.cursor_position) if call.cursor_position else None,
        limit=query.page_size + 1,
        most_bytes=PAGE_BYTES,
        descending=query.descending,
        granted=call.caller.granted,
    )
    found = await read_projection(call, "ledgers", read)
    return projected_page(call, found, ledger_body, lambda ledger: LedgerPlace(ledger.opened_at, ledger.name))


@endpoint(
    "GET",
    "/v1/ledgers/{ledger}",
    summary="Show a ledger",
    tag="Ledgers",
    consistency=Consistency.LINEARIZABLE,
    roles=READER,
    returns=[Returns(200, "The ledger.", LedgerBody, examples.LEDGER)],
)
async def get_ledger(call: Call[NoQuery, None]) -> Answer:
    """Show one ledger. It is read from the journal, so every write acknowledged before is seen."""
    ledger, head = await call.service.read(call.service.ledger.ledger, call.ledger)
    return json_answer(200, ledger_body(ledger), {POSITION: str(head)})
