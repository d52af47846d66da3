"""Asks the installations of a placement, and says which of them could not answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from api.service.service import Service
from domain.journal.outage import DENIALS, is_denied
from domain.model.errors import JournalUnavailable, LedgerError, Unavailable

PATIENCE_SECONDS = 5.0
"""How long an installation may take to answer a question that is put to all of them."""

Said = TypeVar("Said")

Ask = Callable[[Service], Awaitable[Said]]


class Told(NamedTuple, Generic[Said]):
    """What the installations said, and why the others could not answer. Both by name."""

    said: Mapping[str, Said]
    refusals: Mapping[str, Unavailable]

    @property
    def unanswered(self) -> list[str]:
        """The names of the installations that could not answer."""
        return list(self.refusals)


async def ask_all(
    services: Sequence[Service], ask: Ask[Said], patience_seconds: float = PATIENCE_SECONDS
) -> Told[Said]:
    """Ask installations at the same time; return what they said.

    If none of them could answer, raises the refusal of the first. Raises any other refusal, such as that of a request
    that is wrong.
    """
    told = await ask_whoever_answers(services, ask, patience_seconds)
    if not told.said:
        raise told.refusals[services[0].name]
    return told


async def ask_whoever_answers(
    services: Sequence[Service], ask: Ask[Said], patience_seconds: float = PATIENCE_SECONDS
) -> Told[Said]:
    """Do the same, but return also if none of them could answer."""
    answers = await asyncio.gather(*(_asked(service, ask, patience_seconds) for service in services))
    named = list(zip((service.name for service in services), answers, strict=True))
    refusals = {name: answer for name, answer in named if isinstance(answer, Unavailable)}
    said = {name: answer for name, answer in named if not isinstance(answer, Unavailable)}
    return Told(said, refusals)


async def _asked(service: Service, ask: Ask[Said], patience_seconds: float) -> Said | Unavailable:
    """Return what an installation said, or why it could not answer."""
    try:
        async with asyncio.timeout(patience_seconds):
            return await ask(service)
    except TimeoutError:
        return JournalUnavailable("unreachable")
    except Unavailable as refusal:
        return refusal
    except Exception as error:
        if isinstance(error, LedgerError) or not is_denied(error):
            raise
        DENIALS.note(error)
        return JournalUnavailable("denied")
