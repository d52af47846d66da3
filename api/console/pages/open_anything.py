"""Open anything: a key, an id, an address, a position, a correlation id or a leaf hash leads to what it names.

What it could be follows from its form; what it is, the API says. Each possibility is one question, asked in the ledger
that is named, otherwise in every ledger that the caller may see, up to a limit.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import NamedTuple

from api.console.formats import link, request_page, with_query
from api.console.inside import Inside, Reply, granted
from api.console.view import Sent, Shown, View, page
from domain.model.errors import OperationUnknown
from domain.model.idempotency import is_key
from domain.model.ids import canonical_id, is_id
from domain.model.streams import is_address, is_ledger_name

MAX_LEDGERS = 5
"""How many ledgers are asked at once if none is named."""

NEWEST_EVENTS = 1_000
"""How many events are compared with a leaf hash, of all ledgers together: the API finds no event by its hash."""

_LEAF_HASH = re.compile(r"[0-9a-fA-F]{64}")
_POSITION = re.compile(r"[1-9][0-9]{0,18}")
_CORRELATION_ID = re.compile(r"[!-~]{1,128}")
_ABSENT = {HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY}


class Found(NamedTuple):
    """Something that exists: what it is, in words, and the address of its page."""

    what: str
    address: str


class Question(NamedTuple):
    """One possibility: what it would be, in words, and how the API is asked. None means that it does not exist."""

    what: str
    ask: Callable[[], Awaitable[Found | None]]


class Unasked(Exception):
    """The API refused to answer a question. The text is its reason."""


class Answers(NamedTuple):
    """What the API said: what was found, what does not exist, and what could not be asked, with the reasons."""

    found: list[Found]
    absent: list[str]
    unasked: list[tuple[str, str]]


@page("/console/open", template="open_anything.html", is_live=False)
async def open_anything(view: View) -> Shown | Sent:
    """Lead to the one thing that the text names, or show what it could be, or say where it was looked for."""
    text, named = view.query.get("q", "").strip(), view.query.get("ledger", "")
    if not text:
        return _asking()
    ledgers, has_more, positions = await _ledgers(view.api, named)
    answers = await _asked(questions(view.api, text, ledgers))
    if len(answers.found) == 1:
        return Sent(answers.found[0].address)
    values = {
        "text": text,
        "named": named,
        "ledgers": ledgers,
        "has_more": has_more,
        "answers": answers,
        "unknown_in": [(name, positions[name]) for name in ledgers if _request(name) in answers.absent],
        "is_hash": _LEAF_HASH.fullmatch(text) is not None,
    }
    return Shown(f"Open {text[:80]}", _sentence(answers, ledgers), values)


def _asking() -> Shown:
    empty = Answers([], [], [])
    values = {"text": "", "named": "", "ledgers": [], "has_more": False, "answers": empty}
    values |= {"unknown_in": [], "is_hash": False}
    return Shown(
        "Open anything",
        "Name a key, an id, an account, a position, a correlation id or a leaf hash in the field above.",
        values,
    )


def _sentence(answers: Answers, ledgers: Sequence[str]) -> str:
    if answers.found:
        return f"It names {len(answers.found)} things."
    return f"Nothing of this name was found in {', '.join(ledgers) or 'any ledger that you may see'}."


async def _ledgers(api: Inside, named: str) -> tuple[list[str], bool, dict[str, int | None]]:
    """Return the ledgers to look in, whether there are more, and the position up to which each is certainly known.

    The positions are asked for before anything else, so that nothing recorded up to there can be missed.
    """
    has_more = False
    if named:
        ledgers = [named]
    elif (reply := await api.look("/ledgers", page_size=MAX_LEDGERS)).status == HTTPStatus.FORBIDDEN:
        ledgers = []
    else:
        listed = granted(reply).content
        ledgers, has_more = [ledger["name"] for ledger in listed["data"]], listed["next_cursor"] is not None
    replies = await asyncio.gather(*(api.look(f"/ledgers/{ledger}") for ledger in ledgers))
    return ledgers, has_more, {name: reply.position for name, reply in zip(ledgers, replies, strict=True)}


async def _asked(possibilities: Iterable[Question]) -> Answers:
    """Ask all questions at once."""
    asked = list(possibilities)
    replies = await asyncio.gather(*(question.ask() for question in asked), return_exceptions=True)
    answers = Answers([], [], [])
    for question, reply in zip(asked, replies, strict=True):
        match reply:
            case Found():
                answers.found.append(reply)
            case None:
                answers.absent.append(question.what)
            case Unasked():
                answers.unasked.append((question.what, str(reply)))
            case _:
                raise reply
    return answers


def questions(api: Inside, text: str, ledgers: Sequence[str]) -> Iterator[Question]:
    """Yield what a text could name, by its form."""
    if is_id(text):
        yield from _ids(api, canonical_id(text))
    if is_ledger_name(text):
        yield _thing(api, f"ledger {text}", f"/ledgers/{text}")
        yield _projection(api, text)
    for ledger in ledgers:
        yield from _in_ledger(api, text, ledger, NEWEST_EVENTS // len(ledgers))


def _ids(api: Inside, id: str) -> Iterator[Question]:
    yield _thing(api, "webhook", f"/webhooks/{id}")
    yield _thing(api, "dead letter", f"/dead-letters/{id}")
    yield _key(api, id)


def _in_ledger(api: Inside, text: str, ledger: str, newest: int) -> Iterator[Question]:
    base = f"/ledgers/{ledger}"
    if is_key(text):
        yield _operation(api, text, ledger)
    if is_id(text):
        id = canonical_id(text)
        yield _thing(api, f"payout in {ledger}", f"{base}/payouts/{id}")
        yield _thing(api, f"transaction in {ledger}", f"{base}/transactions/{id}")
    if is_address(text):
        yield _thing(api, f"account in {ledger}", f"{base}/accounts/{text}")
    if _POSITION.fullmatch(text):
        yield _position(api, int(text), ledger)
    if _CORRELATION_ID.fullmatch(text):
        yield _conversation(api, text, ledger)
    if _LEAF_HASH.fullmatch(text):
        yield _leaf(api, text.lower(), ledger, newest)


def _thing(api: Inside, what: str, path: str) -> Question:
    async def ask() -> Found | None:
        return Found(what, link(path)) if exists(await api.look(path)) else None

    return Question(what, ask)


def _projection(api: Inside, name: str) -> Question:
    """Ask for the projection of any installation: in a placement each has one, and its address leads to all."""
    path = f"/projections/{name}"

    async def ask() -> Found | None:
        reply = await api.look("/projections", page_size=1000)
        is_there = exists(reply) and name in {each["name"] for each in reply.content["data"]}
        return Found(f"projection {name}", link(path)) if is_there else None

    return Question(f"projection {name}", ask)


def _key(api: Inside, id: str) -> Question:
    """Ask the trail of keys: the API shows keys only as a list."""

    async def ask() -> Found | None:
        reply = await api.look("/audit/events", key_id=id, page_size=1)
        return Found("API key", "/console/keys") if exists(reply) and reply.content["data"] else None

    return Question("API key", ask)


def _request(ledger: str) -> str:
    return f"request under this key in {ledger}"


def _operation(api: Inside, key: str, ledger: str) -> Question:
    what, path = _request(ledger), f"/ledgers/{ledger}/operations/{key}"

    async def ask() -> Found | None:
        reply = await api.look(path)
        if reply.status == HTTPStatus.FORBIDDEN:
            # Whoever repairs may trace a request, and not read it.
            reply = await api.look(f"{path}/trace")
        if reply.status == HTTPStatus.NOT_FOUND and reply.content["code"] != OperationUnknown.code:
            raise Unasked(reply.content["title"])
        return Found(what, request_page(key, ledger)) if exists(reply) else None

    return Question(what, ask)


def _position(api: Inside, position: int, ledger: str) -> Question:
    what = f"event of {ledger} at this position"

    async def ask() -> Found | None:
        reply = await api.look(f"/ledgers/{ledger}/events", after=position - 1, page_size=1)
        events = reply.content["data"] if exists(reply) else []
        return _event(what, ledger, position) if events and events[0]["position"] == position else None

    return Question(what, ask)


def _conversation(api: Inside, correlation_id: str, ledger: str) -> Question:
    """Ask for the events first. Only a trace also knows requests that were repeated under the correlation id."""
    what = f"correlation id in {ledger}"
    address = with_query(f"/console/ledgers/{ledger}/trace", {"correlation_id": correlation_id})

    async def ask() -> Found | None:
        events = await api.look(
            f"/ledgers/{ledger}/events", correlation_id=correlation_id, page_size=1, order="desc"
        )
        if exists(events) and events.content["data"]:
            return Found(what, address)
        trace = await api.look(f"/ledgers/{ledger}/trace", correlation_id=correlation_id)
        return Found(what, address) if exists(trace) and trace.content["operations"] else None

    return Question(what, ask)


def _leaf(api: Inside, leaf_hash: str, ledger: str, newest: int) -> Question:
    what = f"leaf hash among the newest {newest} events of {ledger}"

    async def ask() -> Found | None:
        reply = await api.look(f"/ledgers/{ledger}/events", order="desc", page_size=newest)
        if not exists(reply) or leaf_hash.encode() not in reply.body:
            return None
        events = reply.content["data"]
        at = next((event["position"] for event in events if event["leaf_hash"] == leaf_hash), None)
        return _event(what, ledger, at) if at else None

    return Question(what, ask)


def _event(what: str, ledger: str, position: int) -> Found:
    return Found(what, f"/console/ledgers/{ledger}/events/{position}")


def exists(reply: Reply) -> bool:
    """Tell whether the API shows a thing; raise `Unasked` if it says neither that it exists nor that it does not."""
    if reply.is_refusal and reply.status not in _ABSENT:
        raise Unasked(reply.content["detail"] or reply.content["title"])
    return not reply.is_refusal
