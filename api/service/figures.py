"""The figures that belong to no process: read from the database for a page of metrics, once for all who ask at once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from psycopg import Connection

from domain.application import system_clock
from domain.journal.outage import DENIALS, is_denied
from domain.model.errors import JournalUnavailable
from domain.model.times import Instant, later
from projections.diagnosis.moves import LedgerMove, read_moves
from projections.diagnosis.stuck.catalogue import Thresholds, Total, totals
from projections.diagnosis.stuck.placement import not_arrived
from projections.diagnosis.stuck.search import count_stuck
from projections.diagnosis.vital_signs import VitalSigns, read_vital_signs
from projections.running.positions import Progress, all_progress
from projections.running.replay import Replay, read_replay

Found = TypeVar("Found")

PATIENCE_SECONDS = 2.0
"""How long reading may take. A page without these figures is better than none."""


class Figures(NamedTuple):
    """The progress of projections, how much is stuck of each kind, the vital signs, how old a copy is, and all moves.

    What could not be read is empty or None, and a kind that could not be searched has no total.
    """

    progress: Sequence[Progress] = ()
    stuck: Sequence[Total] = ()
    signs: VitalSigns | None = None
    replay: Replay | None = None
    moves: Sequence[LedgerMove] | None = None


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
            figures = figures._replace(moves=await look_up(read_moves))
            figures = figures._replace(stuck=await look_up(partial(count_stuck, now=system_clock())))
    except (JournalUnavailable, TimeoutError):
        pass
    except Exception as error:
        if not is_denied(error):
            raise
        DENIALS.note(error)
    return figures


def with_not_arrived(seen: Mapping[str, Figures], now: Instant) -> dict[str, Figures]:
    """Return the figures of installations, with how many ledgers left each and arrived nowhere.

    What left for one whose moves could not be read is not counted: that one is found to be away.
    """
    said = {name: figures.moves for name, figures in seen.items() if figures.moves is not None}
    lost = not_arrived(said, later(now, -Thresholds().move_seconds))
    counted = dict(seen)
    for name in said:
        mine = totals([stuck for stuck in lost if stuck.installation == name], now)
        of_kind = [total for total in mine if total.kind == "move_not_arrived"]
        counted[name] = seen[name]._replace(stuck=[*seen[name].stuck, *of_kind])
    return counted
