"""The history of events, read from the journal itself: what happened, when, who did it, and why.

The events of a ledger are for its readers. The events of no ledger are the trail of keys, for auditors and operators.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Annotated, Any

from psycopg import Connection
from pydantic import Field
from pydantic_core import to_json

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import OVERSEER, READER, Concerns, Returns
from api.http.endpoint import endpoint
from api.http.fields import MAX_POSITION, Page
from api.http.pages import PAGE_BYTES, projected_page
from api.http.read_your_writes import may_be_to_come
from api.http.responses import HEAD, JSON, NDJSON, POSITION, Answer, Streamed, prefers
from api.http.spanning.spans import Spans
from api.resources.examples import page_of
from api.resources.journal import examples
from api.resources.journal.event_schemas import (
    KEY_TYPES,
    EventBody,
    EventsQuery,
    KeyEventBody,
    TrailQuery,
    event_body,
)
from api.security.keys import EVERY_LEDGER, Key
from domain.model.errors import NotFound
from domain.model.streams import INSTALLATION, key_stream, ledger_stream
from domain.transparency.leaves import hash_of
from projections.engine.live_version import Page as Found
from projections.engine.live_version import ends_early
from projections.errors import ProjectionBehind
from projections.read_models import event_history
from projections.read_models.event_history import JournalEvent
from projections.read_models.event_index import PROJECTION

STREAMED_EVENTS = 500
"""How many events a stream reads at once, unless they are large: some milliseconds of work."""

STREAMED_BYTES = 1024**2
"""How many bytes these may have together, as stored. A single event may have more."""

_Place = Annotated[int, Field(strict=True, ge=1, le=MAX_POSITION - 1)]
_Asked = Call[EventsQuery, None] | Call[TrailQuery, None]
_Events = Found[JournalEvent]
_Read = Callable[[Connection[Any]], _Events]


@endpoint(
    "GET",
    "/v1/ledgers/{ledger}/events",
    summary="List events",
    tag="Audit",
    consistency=Consistency.JOURNAL,
    roles=READER,
    returns=[
        Returns(200, "A page of events.", Page[EventBody], page_of(examples.EVENT)),
        Returns(200, "All events.", example=to_json(examples.EVENT).decode() + "\n", media_type=NDJSON),
    ],
    place=_Place,
)
async def list_events(call: Call[EventsQuery, None]) -> Answer | Streamed:
    """List the events of a ledger in the order of positions. Filters are combined.

    `Accept: application/x-ndjson` streams all events that the filters leave, one on each line, up to the head at the
    time of the request, which Ledger-Position states. `page_size` has no effect then. A stream whose last chunk has no
    end is incomplete: ask for the rest with `after`.
    """
    accept = call.headers.get(b"accept", b"").decode("latin-1")
    if prefers(accept, NDJSON, JSON):
        return await _streamed(call)
    read = _reading(call, call.cursor_position, call.query.page_size + 1)
    found = await _reached(call, call.service.look_up, read)
    return projected_page(call, found, partial(_body, call), lambda event: event.position)


@endpoint(
    "GET",
    "/v1/audit/events",
    summary="List events that belong to no ledger",
    tag="Audit",
    consistency=Consistency.JOURNAL,
    roles=OVERSEER,
    returns=[
        Returns(200, "A page of events.", Page[KeyEventBody], page_of(examples.KEY_EVENT)),
        Returns(200, "All events.", example=to_json(examples.KEY_EVENT).decode() + "\n", media_type=NDJSON),
    ],
    concerns=Concerns.GRANTED,
    place=_Place,
    spans=Spans.CHOSEN,
)
async def list_trail(call: Call[TrailQuery, None]) -> Answer | Streamed:
    """List what happened to the installation itself, in the order of positions: keys made, rotated and revoked.

    Each event says who did it and when, and the key's name, roles, ledgers and end. The events are kept for ever in the
    sealed journal. An event is left out if its key was granted a ledger that the asking key was not. Filters are
    combined. `Accept: application/x-ndjson` streams them all, as for the events of a ledger.
    """
    accept = call.headers.get(b"accept", b"").decode("latin-1")
    if prefers(accept, NDJSON, JSON):
        return await _streamed(call)
    read = _reading(call, call.cursor_position, call.query.page_size + 1)
    found = await _reached(call, call.service.look_up, read)
    return projected_page(call, found, event_body, lambda event: event.position)


def _is_shown(event: JournalEvent, caller: Key, key_id: str) -> bool:
    """Tell whether the caller may see an event of a key, and whether it concerns the key in `key_id`, if there is
    one."""
    payload = event.content.payload
    if not isinstance(payload, dict):
        return caller.may_use(EVERY_LEDGER) and not key_id
    concerned = {event.row[0], *(key_stream(str(payload.get(name))) for name in ("replaces", "replaced_by"))}
    if key_id and key_stream(key_id) not in concerned:
        return False
    return caller.may_grant(payload.get("ledgers", (EVERY_LEDGER,)))


def _body(call: _Asked, event: JournalEvent) -> EventBody:
    """Return the body of an event, with the hash of its leaf in the tree of the journal that recorded it."""
    if call.positions is not None:
        stream, version, topic, state, position = event.row
        recorded = call.positions.recorded(position)
        event = event._replace(leaf_hash=hash_of(recorded, stream, version, topic, state))
    return event_body(event)


async def _streamed(call: _Asked) -> Streamed:
    query = call.service.query_for_stream
    first = await _reached(
        call,
        query,
        _reading(call, call.cursor_position, STREAMED_EVENTS, STREAMED_BYTES, max_tail_events=None),
    )
    headers = {POSITION: str(first.head), HEAD: str(first.head)}
    part_bytes = 0 if _is_last(first) else 2 * STREAMED_BYTES
    return Streamed(200, _lines(call, first), headers, NDJSON, part_bytes)


def _is_last(page: _Events) -> bool:
    return len(page.rows) < STREAMED_EVENTS and not ends_early(page.rows)


async def _lines(call: _Asked, page: _Events) -> AsyncIterator[bytes]:
    head = page.head
    while page.rows:
        lines = b"".join(to_json(_body(call, event)) + b"\n" for event in page.rows)
        place, is_last = page.rows[-1].position, _is_last(page)
        del page  # nor is it kept while the client reads
        yield lines
        if is_last:
            return
        read = _reading(call, place, STREAMED_EVENTS, STREAMED_BYTES, head, max_tail_events=None)
        page = await call.service.query_for_stream(read)


def _reading(
    call: _Asked,
    place: int | None,
    limit: int,
    most_bytes: int = PAGE_BYTES,
    head: int | None = None,
    **more: Any,
) -> _Read:
    """Return a function that reads the events after a place in the list, up to `head` if it is given."""
    query = call.query
    if isinstance(query, TrailQuery):
        existing = []
        ledger = INSTALLATION
        more["only"] = partial(_is_shown, caller=call.caller, key_id=query.key_id)
        # The records of witnesses belong to no ledger either, and there are many more of them.
        more["types"] = () if query.type else KEY_TYPES
    else:
        existing = [ledger_stream(call.ledger)]
        ledger = call.ledger
    low, high = (query.after or 0) + 1, None if head is None else head + 1
    if place is not None:
        low, high = (low, place) if query.descending else (max(low, place + 1), high)
    return partial(
        event_history.list_events,
        ledger=ledger,
        filters=query.filters,
        low=low,
        high=high,
        limit=limit,
        most_bytes=most_bytes,
        descending=query.descending,
        existing=existing,
        **more,
    )


async def _reached(call: _Asked, query: Callable[[_Read], Awaitable[_Events]], read: _Read) -> _Events:
    """Return the events read, once they reflect the request's `min_position`, if it names one.

    No request waits for the index, only for the journal. Raises `ProjectionBehind` if the position is not reached in
    time.
    """
    position = call.query.min_position
    is_to_come = position is not None and may_be_to_come(call.service, position)
    try:
        found = await query(read)
        if position is None or found.position >= position:
            return found
    except NotFound:
        if position is None or not is_to_come:
            raise
    waited = await call.service.wait_for(PROJECTION.name, position, call.prefer.wait_seconds)
    seen = waited.arrived()
    found = await query(read)
    if found.position < position:
        raise ProjectionBehind(found.position, found.head, seen.state)
    return found
