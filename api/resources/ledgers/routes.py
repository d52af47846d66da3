"""Ledgers: open, show and list them."""

from contextlib import suppress
from functools import partial

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import CLIENT, READER, Concerns, NoQuery, Returns
from api.http.endpoint import endpoint
from api.http.fields import LedgerName, SpanningPage, Time
from api.http.read_your_writes import read_projection
from api.http.responses import INSTALLATION, POSITION, Answer, json_answer
from api.http.spanning.lists import part_bytes, projected_list
from api.http.spanning.shown_positions import shown_answer
from api.http.spanning.spans import Spans
from api.resources.examples import page_of
from api.resources.ledgers import examples
from api.resources.ledgers.schemas import LedgerBody, LedgerRequest, LedgersQuery, ledger_body
from api.service.service import Service
from domain.model.errors import (
    InvalidRequest,
    LedgerError,
    LedgerExists,
    LedgerMissing,
    LedgerNotFound,
)
from domain.model.ledgers import Ledger, OpenLedger
from domain.model.refusals import ledger_exists
from projections.engine.live_version import Page as Found
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
    problems=[LedgerExists, LedgerMissing],
    body_example=examples.LEDGER_REQUEST,
    concerns=Concerns.EVERY,
    spans=Spans.BODY,
)
async def open_ledger(call: Call[NoQuery, LedgerRequest]) -> Answer:
    """Open a ledger. Idempotent: repeating it answers 200. Needs a key that was granted every ledger.

    In a placement, `installation` names the one that is to hold it. Without it, a new ledger is opened at home.
    """
    installations, wanted = call.installations, call.body
    if wanted.installation not in (None, *installations.names):
        raise InvalidRequest("/installation", f"must be one of {', '.join(installations.names)}")
    # The map says it before the ledger is opened. If this process ends in between, the same request finds the entry
    # and finishes.
    is_placed = await installations.has_placed(wanted.name)
    claimed = await installations.claim(wanted.name, wanted.installation or installations.home.name)

    async def opened(service: Service) -> Answer:
        try:
            return await _opened(call, service, is_placed=is_placed)
        except LedgerError as refusal:
            refusal.installation = service.name if installations.is_placement else None
            raise

    return await installations.asked(wanted.name, claimed, opened)


async def _opened(call: Call[NoQuery, LedgerRequest], service: Service, *, is_placed: bool) -> Answer:
    """Open a ledger where it is to be. Raises `LedgerExists` if the request names another installation.

    Nothing is opened then. Whether a ledger is there is asked of its installation, since the map may be behind.
    """
    wanted = call.body
    if wanted.installation not in (None, service.name):
        with suppress(LedgerNotFound):
            await service.read(service.ledger.ledger, wanted.name)
        raise ledger_exists(wanted.name, service.name)
    if is_placed:
        await _require_not_lost(call, service)
    outcome = await service.writer.perform(OpenLedger(call.context, wanted.name, wanted.metadata))
    named = service.name if call.installations.is_placement else None
    headers = {POSITION: str(outcome.position), "Location": f"/v1/ledgers/{wanted.name}"}
    headers |= {INSTALLATION: named} if named else {}
    answer = json_answer(201 if outcome.recorded else 200, ledger_body(outcome.state, named), headers)
    positions = await service.shown_positions(wanted.name)
    return answer if positions is None else shown_answer(answer, positions)


async def _require_not_lost(call: Call[NoQuery, LedgerRequest], service: Service) -> None:
    """Raise `LedgerMissing` if the ledger had come to this installation from another, and is not there."""
    try:
        await service.read(service.ledger.ledger, call.body.name)
    except LedgerNotFound:
        await call.installations.require_nobody_left_for(call.body.name, service)


@endpoint(
    "GET",
    "/v1/ledgers",
    summary="List ledgers",
    tag="Ledgers",
    consistency=Consistency.PROJECTION,
    roles=READER,
    returns=[Returns(200, "A page of ledgers.", SpanningPage[LedgerBody], page_of(examples.LEDGER))],
    concerns=Concerns.GRANTED,
    place=tuple[Time, LedgerName],
    spans=Spans.ALL,
)
async def list_ledgers(call: Call[LedgersQuery, None]) -> Answer:
    """List the ledgers that the key was granted, oldest first."""
    return await projected_list(
        call, _read, ledger_body, lambda ledger: LedgerPlace(ledger.opened_at, ledger.name)
    )


async def _read(call: Call[LedgersQuery, None]) -> Found[Ledger]:
    query = call.query
    read = partial(
        ledgers.list_ledgers,
        after=LedgerPlace(*call.cursor_position) if call.cursor_position else None,
        limit=query.page_size + 1,
        most_bytes=part_bytes(call),
        descending=query.descending,
        granted=call.caller.granted,
    )
    return await read_projection(call, "ledgers", read)


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
    named = call.service.name if call.installations.is_placement else None
    return json_answer(200, ledger_body(ledger, named), {POSITION: str(head)})
