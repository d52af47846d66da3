"""Now: whether the books balance, what needs somebody, and how far everything is."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from api.console.actions.next_steps import Step, next_steps
from api.console.formats import counted, grouped
from api.console.inside import Reply
from api.console.view import Shown, View, page
from projections.diagnosis.stuck.catalogue import CATALOGUE, StuckKind

MAX_CHECKED_LEDGERS = 10
"""How many ledgers have their trial balance read for one page."""


class Books(NamedTuple):
    """What is known of the books: how many ledgers were looked at, and up to which position.

    `is_all` tells whether these are all that the caller may see, `is_whole` whether the caller may see every ledger.
    `unbalanced` are those that do not balance, `unread` those that could not be read. `position` is None in a
    placement: each installation has positions of its own. `unanswered` are those that could not say what they have.
    """

    checked: int
    is_all: bool
    position: int | None
    unbalanced: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    is_whole: bool = True
    unanswered: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What may be said of them."""
        if self.unbalanced:
            return f"The books of {' and '.join(self.unbalanced)} do not balance{self._at}."
        if not self.checked:
            return (
                "Whether the books balance cannot be said now." if self.unread else "There are no books yet."
            )
        if self.is_all and not self.unread and not self.unanswered:
            which = "The books" if self.is_whole else "The books that you may read"
            return f"{which} balance{self._at}."
        subject = counted(self.checked, "ledger was checked and balances", "ledgers were checked and balance")
        return f"{subject}{self._at}."

    @property
    def _at(self) -> str:
        return "" if self.position is None else f" at position {grouped(self.position)}"


class Need(NamedTuple):
    """A kind of stuck thing: how many there are, and the oldest, with what is safe to do about it."""

    kind: StuckKind
    number: int
    oldest_age_seconds: float
    oldest: Mapping[str, Any] | None
    steps: Sequence[Step]

    @property
    def needs_somebody(self) -> bool:
        """Whether somebody must act. Otherwise it goes on by itself."""
        return needs_somebody(self.kind)

    @property
    def has_action(self) -> bool:
        """Whether an action of the console does what is safe. Otherwise there are words and commands."""
        return any(step.action for step in self.steps)

    @property
    def called(self) -> str:
        """How the kind is called."""
        return CATALOGUE[self.kind].called

    @property
    def why(self) -> str:
        """Why things of this kind are stuck."""
        return CATALOGUE[self.kind].why


@page("/console", template="now.html")
async def show_now(view: View) -> Shown:
    """Show how things are."""
    stuck, projections, checkpoints, books = await asyncio.gather(
        view.api.look("/stuck"),
        view.api.look("/projections"),
        view.api.look("/audit/checkpoints", order="desc", page_size=1),
        _books(view),
    )
    needs = None if stuck.is_refusal else needs_of(stuck.content)
    shown = None if projections.is_refusal else projections.content["data"]
    unanswered = () if stuck.is_refusal else stuck.content.get("unanswered", ())
    return Shown(
        "Now",
        " ".join(filter(None, (books and books.sentence, _sentence_of_stuck(view, needs, unanswered)))),
        {
            "books": books,
            "unanswered": unanswered or (books and books.unanswered),
            "needs": needs,
            "why_no_needs": view.why_not("GET", "/v1/stuck"),
            "projections": shown,
            "furthest_behind": max(shown, key=lambda each: each["lag_seconds"]) if shown else None,
            "checkpoint": None if checkpoints.is_refusal else next(iter(checkpoints.content["data"]), None),
            "may_see_checkpoints": not checkpoints.is_refusal,
            "why_no_checkpoints": view.why_not("GET", "/v1/audit/checkpoints"),
        },
    )


def needs_somebody(kind: StuckKind) -> bool:
    """Return whether a kind of stuck thing needs somebody to act. Otherwise it goes on by itself."""
    return CATALOGUE[kind].remedy != "wait"


def needs_of(stuck: Mapping[str, Any]) -> list[Need]:
    """Return the kinds of what is stuck, those that need somebody first."""
    oldest: dict[str, Mapping[str, Any]] = {}
    for each in stuck["data"]:
        oldest.setdefault(each["kind"], each)
    needs = [
        Need(total["kind"], total["count"], total["oldest_age_seconds"], found, _steps_of(found))
        for total in stuck["totals"]
        if total["count"]
        for found in [oldest.get(total["kind"])]
    ]
    return sorted(needs, key=lambda need: (not need.needs_somebody, -need.oldest_age_seconds))


def _sentence_of_stuck(view: View, needs: Sequence[Need] | None, unanswered: Sequence[str]) -> str:
    """Return how much needs somebody, in words; nothing if the caller may not see it."""
    if needs is not None:
        return sentence_of_needs(needs, view.caller.roles, sees_all=view.sees_all and not unanswered)
    return "" if view.why_not("GET", "/v1/stuck") else "What is stuck cannot be said now."


def sentence_of_needs(needs: Sequence[Need], roles: Sequence[str], *, sees_all: bool) -> str:
    """Return how much needs somebody, in words."""
    many = sum(need.number for need in needs if need.needs_somebody)
    who = "you" if "operator" in roles else "an operator"
    if not many:
        return f"Nothing {'' if sees_all else 'that you may see '}needs {who}."
    return f"{counted(many, 'thing needs', 'things need')} {who}."


async def _books(view: View) -> Books | None:
    """Return what the trial balances say; None if the caller may not read any."""
    listed = await view.api.look("/ledgers", page_size=MAX_CHECKED_LEDGERS)
    if listed.status == 403:
        return None
    if listed.is_refusal:
        return Books(0, False, None, unread=("ledgers",))
    names = [ledger["name"] for ledger in listed.content["data"]]
    replies = await asyncio.gather(*(view.api.look(f"/ledgers/{name}/trial-balance") for name in names))
    read = dict(zip(names, replies, strict=True))
    books = books_of(read, is_all=listed.content["next_cursor"] is None)._replace(is_whole=view.sees_all)
    if not view.installations:
        return books
    return books._replace(position=None, unanswered=tuple(listed.content["unanswered"]))


def books_of(replies: Mapping[str, Reply], *, is_all: bool) -> Books:
    """Return what the trial balances of these ledgers say."""
    read = {name: reply.content for name, reply in replies.items() if not reply.is_refusal}
    unbalanced = (name for name, totals in read.items() if not _balances(totals))
    return Books(
        len(read),
        is_all,
        min((totals["position"] for totals in read.values()), default=None),
        tuple(unbalanced),
        tuple(name for name in replies if name not in read),
    )


def _balances(totals: Mapping[str, Any]) -> bool:
    return all(int(row["debits"]) == int(row["credits"]) for row in totals["data"])


def _steps_of(found: Mapping[str, Any] | None) -> Sequence[Step]:
    return next_steps(found["remedy"], found["resource"]) if found else ()
