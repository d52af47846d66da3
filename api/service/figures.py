"""The figures that belong to no process: read from the database for a page of metrics, once for all who ask at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from psycopg import Connection

from domain.application import system_clock
from domain.journal.outage import DENIALS, is_denied
from domain.model.errors import JournalUnavailable
from projections.diagnosis.stuck.catalogue import Total
from projections.diagnosis.stuck.search import count_stuck
from projections.diagnosis.vital_signs import VitalSigns, read_vital_signs
from projections.running.positions import Progress, all_progress
from projections.running.replay import Replay, read_replay

Found = TypeVar("Found")

PATIENCE_SECONDS = 2.0
"""How long reading may take. A page without these figures is better than none."""


class Figures(NamedTuple):
    """The progress of projections, how much is stuck of each kind, the vital signs, and how old a copy is.

    What could not be read is empty or None, and a kind that could not be searched has no total.
    """

    progress: Sequence[Progress] = ()
    stuck: Sequence[Total] = ()
    signs: VitalSigns | None = None
    replay: Replay | None = None


class LookUp(Protocol):
    """Runs a pure read on a connection, such as `Service.look_up`."""

    def __call__(self, function: Callable[[Connection[Any]], Found], /) -> Awaitable[Found]:
        """Return the result of the read."""
        ...


class FiguresReader:
    """Reads the figures of an API process. However many ask at once, one reading serves them all."""

    def __init__(self) -> None:
        self._reading: asyncio.Future[Figures] | None = None

    async def read(self, look_up: LookUp) -> Figures:
        """Return the figures, after about `PATIENCE_SECONDS` at most."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(_read(look_up))
        # The reading is shared, so it goes on if one of those who wait for it leaves.
        return await asyncio.shield(self._reading)


async def _read(look_up: LookUp) -> Figures:
    figures = Figures()
    # Without the database, the figures of the process matter all the more.
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            figures = figures._replace(replay=await look_up(read_replay))
            figures = figures._replace(progress=await look_up(all_progress))
            figures = figures._replace(signs=await look_up(read_vital_signs))
            figures = figures._replace(stuck=await look_up(partial(count_stuck, now=system_clock())))
    except (JournalUnavailable, TimeoutError):
        pass
    except Exception as error:
        if not is_denied(error):
            raise
        DENIALS.note(error)
    return figures
