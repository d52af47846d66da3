"""The history of events: what happened, when, by whom, because of what; from the journal itself."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Annotated, Any

from psycopg import Connection
from pydantic import Field
from pydantic_core import to_json

from api import examples
from api.answers import HEAD, JSON, NDJSON, POSITION, Answer, Streamed, prefers
from api.consistency import Consistency
from api.declaration import READER, Declaration, Returns
from api.endpoint import Asked, Endpoint
from api.lists import projected_page
from api.schemas.common import MAX_POSITION, Page
from api.schemas.events import EventBody, EventsQuery, event_body
from domain.errors import ProjectionBehind
from projections.event_history import JournalEvent, list_events
from projections.event_index import PROJECTION
from projections.event_keys import Filters
from projections.live import Page as Found

STREAMED_EVENTS = 500
"""How many events are read at once for a stream: some milliseconds of work."""

_Place = Annotated[int, Field(strict=True, ge=1, le=MAX_POSITION - 1)]
_Events = Found[JournalEvent]
_Read = Callable[[Connection[Any]], _Events]


async def get_events(asked: Asked[EventsQuery, None]) -> Answer | Streamed:
    """List the events of a ledger in the order of positions. Filters are combined.

    `Accept: application/x-ndjson` streams all of them, one on each line, up to the head as of the request, which
    Ledger-Position states; `page_size` does not matter then. A stream that ends without the end of its last chunk is
    incomplete: ask for the rest with `after`.
    """
    await asked.service.read(asked.service.ledger.book, asked.ledger)
    accept = asked.headers.get(b"accept", b"").decode("latin-1")
    if prefers(accept, NDJSON, JSON):
        return await _streamed(asked)
    read = _reading(asked, asked.place, asked.query.page_size + 1)
    found = await _reached(asked, asked.service.look_up, read)
    return projected_page(asked, found, event_body, lambda event: event.position)


async def _streamed(asked: Asked[EventsQuery, None]) -> Streamed:
    query = asked.service.query_for_stream
    first = await _reached(asked, query, _reading(asked, asked.place, STREAMED_EVENTS, max_tail_events=None))
    headers = {POSITION: str(first.head), HEAD: str(first.head)}
    return Streamed(200, _lines(asked, first), headers, NDJSON)


async def _lines(asked: Asked[EventsQuery, None], page: _Events) -> AsyncIterator[bytes]:
    head = page.head
    while page.rows:
        yield b"".join(to_json(event_body(event)) + b"\n" for event in page.rows)
        if len(page.rows) < STREAMED_EVENTS:
            return
        place = page.rows[-1].position
        read = _reading(asked, place, STREAMED_EVENTS, head=head, max_tail_events=None)
        page = await asked.service.query_for_stream(read)


def _reading(
    asked: Asked[EventsQuery, None], place: int | None, limit: int, head: int | None = None, **more: Any
) -> _Read:
    """Return what reads the events after a place in the list, none of them beyond the head if that is given."""
    query = asked.query
    low, high = (query.after or 0) + 1, None if head is None else head + 1
    if place is not None:
        low, high = (low, place) if query.descending else (max(low, place + 1), high)
    return partial(
        list_events,
        ledger=asked.ledger,
        filters=Filters(
            query.account, query.transaction_id, query.correlation_id, query.actor, query.type, query.since, query.until
        ),
        low=low,
        high=high,
        limit=limit,
        descending=query.descending,
        **more,
    )  # fmt: skip


async def _reached(
    asked: Asked[EventsQuery, None], query: Callable[[_Read], Awaitable[_Events]], read: _Read
) -> _Events:
    """Return what is read once it reflects the `min_position` that the request names, if it names one.

    Nobody waits for the index, but for the journal alone. Raises `ProjectionBehind` if it has not come there in time.
    """
    position = asked.query.min_position
    found = await query(read)
    if position is None or found.position >= position:
        return found
    waited = await asked.service.waiter.reached(PROJECTION.name, position, asked.prefer.wait_seconds)
    seen = waited.arrived()
    found = await query(read)
    if found.position < position:
        raise ProjectionBehind(found.position, found.head, seen.state)
    return found


ENDPOINTS = [
    Endpoint(
        Declaration(
            "GET",
            "/v1/ledgers/{ledger}/events",
            "list_events",
            "Audit",
            "List events",
            Consistency.JOURNAL,
            READER,
            (
                Returns(200, "A page of events.", Page[EventBody], examples.page(examples.EVENT)),
                Returns(
                    200,
                    "All events.",
                    example=to_json(examples.EVENT).decode() + "\n",
                    media_type=NDJSON,
                ),
            ),
            query=EventsQuery,
            place=_Place,
        ),
        get_events,
    ),
]
