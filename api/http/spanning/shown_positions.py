"""Positions as a ledger that has moved shows them: translated here, and nowhere else.

Handlers speak of positions of their installation's journal. For a ledger that has moved, a request's positions are
translated before, and those of the answer afterwards (domain/journal/shown_positions.py; api/README.md, Placement).
Nothing is done for other ledgers.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

from msgspec import json
from pydantic import BaseModel

from api.http.responses import HEAD, NDJSON, POSITION, Answer, Streamed
from domain.journal.shown_positions import ShownPositions
from domain.model.errors import LedgerError
from projections.errors import ProjectionBehind

Map = Callable[[int], int]
Asked = TypeVar("Asked", bound=BaseModel)
Told = TypeVar("Told", bound=Answer | Streamed)

PARAMETERS = ("min_position", "at_position", "after")
"""The query parameters that are positions."""

MEMBERS = frozenset({"position", "head"})
"""The members of bodies that are positions, at every depth, except in what is shown as somebody wrote it."""

WRITTEN = frozenset({"payload", "destination", "metadata"})
"""The members whose content is an event's own or a client's."""


def names_position(query: BaseModel) -> bool:
    """Tell whether query parameters name a position of the journal."""
    return bool(_given(query))


def own_query(query: Asked, positions: ShownPositions) -> Asked:
    """Return query parameters with the positions of this journal."""
    own = {name: positions.own(value) for name, value in _given(query).items()}
    return query.model_copy(update=own) if own else query


def _given(query: BaseModel) -> dict[str, int]:
    return {name: value for name in PARAMETERS if (value := getattr(query, name, None)) is not None}


def mapped_place(place: Any, to: Map) -> Any:
    """Return a place in a list with its position mapped: the place itself, or the first number in it."""
    if isinstance(place, int):
        return to(place)
    if isinstance(place, tuple):
        at = next((number for number, part in enumerate(place) if isinstance(part, int)), None)
        if at is not None:
            return (*place[:at], to(place[at]), *place[at + 1 :])
    return place


def shown_answer(answer: Told, positions: ShownPositions) -> Told:
    """Return an answer with the positions that the ledger shows."""
    headers = _shown_headers(answer.headers, positions.shown)
    if isinstance(answer, Streamed):
        is_translated = answer.media_type == NDJSON
        parts = _shown_lines(answer.parts, positions.shown) if is_translated else answer.parts
        return answer._replace(parts=parts, headers=headers)
    if answer.body and answer.media_type.partition(";")[0].endswith("json"):
        return answer._replace(body=_shown_body(answer.body, positions.shown), headers=headers)
    return answer._replace(headers=headers)


def shown_members(body: Mapping[str, Any], positions: ShownPositions | None) -> Mapping[str, Any]:
    """Return a body with the positions that its ledger shows, None if as they are."""
    return body if positions is None else _mapped(body, positions.shown)


def show_refusal(error: LedgerError, positions: ShownPositions, head: int) -> None:
    """Put the positions that the ledger shows into a refusal. `head` is the newest position that is known."""
    error.position = positions.shown(head if error.position is None else error.position)
    if isinstance(error, ProjectionBehind):
        error.head = positions.shown(error.head)


def _shown_headers(headers: Mapping[str, str], to: Map) -> dict[str, str]:
    shown = dict(headers)
    for name in (POSITION, HEAD):
        if name in shown:
            shown[name] = str(to(int(shown[name])))
    return shown


def _shown_body(body: bytes, to: Map) -> bytes:
    return json.encode(_mapped(json.decode(body), to))


async def _shown_lines(parts: AsyncIterator[bytes], to: Map) -> AsyncIterator[bytes]:
    """Yield parts of whole lines."""
    async for part in parts:
        yield b"".join(_shown_body(line, to) + b"\n" for line in part.splitlines() if line)


def _mapped(value: Any, to: Map) -> Any:
    if isinstance(value, list):
        return [_mapped(item, to) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: to(member)
        if name in MEMBERS and isinstance(member, int)
        else member
        if name in WRITTEN
        else _mapped(member, to)
        for name, member in value.items()
    }
