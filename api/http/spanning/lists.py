"""Lists that span ledgers: each installation is asked for its part, and the parts become one page."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from msgspec.structs import replace

from api.http.call import Call
from api.http.consistency import preferences
from api.http.pages import PAGE_BYTES, fitting, page, projected_page, reflected
from api.http.responses import Answer, json_answer
from api.http.spanning.asking import PATIENCE_SECONDS, Told, ask_all
from api.http.spanning.merging import Part, is_more, merged, places_after
from api.service.service import Service
from domain.journal.reader import head_of
from projections.engine.live_version import Page as Found
from projections.engine.live_version import Reading, ends_early
from projections.errors import ProjectionBehind

Row = TypeVar("Row")
Said = TypeVar("Said")

ListCall = Call[Any, None]


def part_bytes(call: ListCall) -> int:
    """Return how large the rows of one installation may be together, so that those of all fit a page."""
    return PAGE_BYTES // len(call.installations.names)


async def listed(
    call: ListCall,
    read: Callable[[ListCall], Awaitable[Reading[Sequence[Row]]]],
    show: Callable[[Row], Any],
    place: Callable[[Row], Any],
) -> tuple[dict[str, Any], Mapping[str, str]]:
    """Return a page of a list, and the headers that say which position it reflects.

    `read` reads the rows of one installation, `show` and `place` are as for `page`. Each installation of a placement
    has its own positions. So a merged page has them in its body, not in headers.
    """
    if not call.installations.is_placement:
        found = await read(call)
        return page(call, found.found, show, place), reflected(found)
    told = await ask_each(call, read)
    rows: Told[Sequence[Row]] = Told({name: of.found for name, of in told.said.items()}, told.refusals)
    return {**merged_page(call, rows, show, place), **reflected_of_each(told)}, {}


async def ask_each(call: ListCall, read: Callable[[ListCall], Awaitable[Said]]) -> Told[Said]:
    """Return what the installations of a placement say: the one that the request names, else every one.

    `read` is given the call as it is for one installation: with its service, and the list's place in it.
    """
    places = call.cursor_position or {}

    def ask(service: Service) -> Awaitable[Said]:
        return read(replace(call, service=service, cursor_position=places.get(service.name)))

    waits = getattr(call.query, "min_position", None) is not None
    named = call.query.installation
    services = [call.service] if named else [service for _, service in call.installations.all()]
    patience = PATIENCE_SECONDS + (preferences(call.headers.get(b"prefer")).wait_seconds if waits else 0.0)
    return await ask_all(services, ask, patience)


def merged_page(
    call: ListCall, told: Told[Sequence[Row]], show: Callable[[Row], Any], place: Callable[[Row], Any]
) -> dict[str, Any]:
    """Return a page of what the installations said, each item with its installation.

    Its cursor leads on as long as an installation could not answer, even if no other has more. Whoever follows it then
    is refused as that installation was, rather than told that the list has ended.
    """
    parts = {name: Part(rows, ends_early(rows)) for name, rows in told.said.items()}
    following = merged(parts, place, descending=call.query.descending)
    rows = list(islice(following, call.query.page_size))
    if not rows and told.refusals and call.query.cursor is not None:
        raise next(iter(told.refusals.values()))
    items = fitting({**show(row), "installation": name} for name, row in rows)
    places = places_after(call.cursor_position or {}, rows[: len(items)], place)
    more = is_more(parts, len(items), told.refusals)
    return {
        "data": items,
        "next_cursor": call.cursor_after(places) if more else None,
        "unanswered": told.unanswered,
    }


async def projected_list(
    call: ListCall,
    read: Callable[[ListCall], Awaitable[Found[Row]]],
    show: Callable[[Row], Any],
    place: Callable[[Row], Any],
) -> Answer:
    """Return an answer with a page of a projection's list, as `listed` does, at the request's `min_position`."""
    if not call.installations.is_placement:
        return projected_page(call, await read(call), show, place)

    async def read_at_least(call: ListCall) -> Found[Row]:
        return await read(await _waiting_within(call))

    told = await ask_each(call, read_at_least)
    if call.query.min_position is not None:
        for refusal in told.refusals.values():
            if isinstance(refusal, ProjectionBehind):
                raise refusal
    rows: Told[Sequence[Row]] = Told({name: found.rows for name, found in told.said.items()}, told.refusals)
    return json_answer(200, {**merged_page(call, rows, show, place), **reflected_of_each(told)})


async def _waiting_within(call: ListCall) -> ListCall:
    """Return the call with a `min_position` that its installation has reached.

    The client that names a position was told it by one of the installations, and need not know by which. In that one
    the position is at most the head. The others wait for their heads at most. The head of a copy says nothing of that:
    every copy that is asked waits for the position itself.
    """
    position = call.query.min_position
    if position is None or call.service.replica is not None:
        return call
    head = await call.service.look_up(head_of)
    return replace(call, query=call.query.model_copy(update={"min_position": min(position, head)}))


def reflected_of_each(told: Told[Any]) -> dict[str, Any]:
    """Return the member of a body that says which position it reflects of each installation that answered."""
    return {"reflected": {name: _reflected(found) for name, found in told.said.items()}}


def _reflected(found: Found[Any] | Reading[Any]) -> dict[str, int | None]:
    lacking = found.lacking
    return {
        "position": found.position,
        "head": found.head,
        "dead_letters": lacking.streams,
        "oldest_dead_letter": lacking.oldest,
    }
