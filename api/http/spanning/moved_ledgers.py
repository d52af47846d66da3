"""Requests for a ledger that may have moved are answered in the positions that it shows (`shown_positions.py`)."""

from typing import Any

from msgspec.structs import replace

from api.http.call import Call, Handler
from api.http.responses import Answer, Streamed
from api.http.spanning.shown_positions import (
    mapped_place,
    names_position,
    own_query,
    show_refusal,
    shown_answer,
)
from domain.journal.shown_positions import ShownPositions
from domain.model.errors import LedgerError


async def serve_moved(call: Call[Any, Any], ledger: str, handle: Handler) -> Answer | Streamed:
    """Return the answer for a ledger that may have moved, in the positions that it shows if it has.

    A copy may replay a whole move between two reads. So it is asked once more after an answer for a ledger that had
    not moved: what it has replayed until then, the answer may reflect.
    """
    is_copy = call.service.replica is not None
    if not is_copy or call.cursor_position is not None or names_position(call.query):
        positions, absence = await call.service.present_positions(ledger)
        if positions is not None:
            return await _serve_shown(call, handle, positions, absence)
    if not is_copy:
        return await handle(call)
    answer, refusal = None, None
    try:
        answer = await handle(call)
    except LedgerError as error:
        refusal = error
    positions, absence = await call.service.present_positions(ledger)
    if positions is not None:
        return await _serve_shown(call, handle, positions, absence)
    if refusal is not None:
        raise refusal
    assert answer is not None
    return answer


async def _serve_shown(
    call: Call[Any, Any],
    handle: Handler,
    positions: ShownPositions,
    absence: LedgerError | None,
) -> Answer | Streamed:
    """Return the answer for a ledger that has moved, in the positions that it shows."""
    if absence is not None:
        show_refusal(absence, positions, call.service.position())
        raise absence
    head = call.service.position()
    place = mapped_place(call.cursor_position, positions.own)
    query = own_query(call.query, positions)
    try:
        answer = await handle(replace(call, query=query, cursor_position=place, positions=positions))
    except LedgerError as refusal:
        show_refusal(refusal, positions, head)
        raise
    return shown_answer(answer, positions)
