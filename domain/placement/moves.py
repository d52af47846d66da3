"""The steps of a move, each one transaction in one installation. What they leave says which step comes next.

| step | at | events | the ledger is written |
|---|---|---|---|
| `begin_leaving`, `begin_arriving` | both | `ledger.arrival_begun` at the new place | at the old place |
| `copy` | new | copies | at the old place |
| `freeze` | old | `ledger.move_started` | nowhere |
| `leave` | old | `ledger.moved` | nowhere |
| `arrive` | new | a copy of `ledger.moved`, `ledger.arrival_ended`, `ledger.arrived` | at the new place |

Until `leave`, `cancel` gives the ledger back to the old place. After it only `arrive` is left to do, and whoever runs
the move again does it. The new place arrives only on a copy of `ledger.moved`, so the ledger is never written in both.

Each step checks, under the lock of the journal's head, that it comes next. So it does not matter who takes the steps,
how often, or whether two programs do at once.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection

from domain.journal.encoding import decode
from domain.journal.queries import load
from domain.journal.reader import Row, StretchRow
from domain.journal.recording import recording
from domain.journal.shown_positions import ShownPositions, read_cause, read_shown_positions
from domain.model.events import Context, Event
from domain.model.moves import (
    ArrivalBegun,
    ArrivalEnded,
    Arrived,
    MoveCancelled,
    Moved,
    MoveStarted,
    MoveState,
    offset_at,
)
from domain.model.streams import arrival_stream, ledger_stream
from domain.placement.copies import append_copies, last_of_ledger, note_arrival
from domain.placement.digests import Digest

_SQL = load(__name__)


class Standing(NamedTuple):
    """Where a ledger stands in one installation. `copied` is the newest position, as shown, that was copied there."""

    state: MoveState
    installation: str
    copied: int = 0


class CannotMove(Exception):
    """The ledger cannot be moved as asked; the message says why. Nothing was changed."""


class Overtaken(Exception):
    """Another program has taken this step, or has cancelled the move. Nothing was changed."""


def try_lock(connection: Connection[Any], ledger: str) -> bool:
    """Tell whether this session may move the ledger from here: no other session does."""
    return bool(_SQL["try_lock"].only(connection, {"ledger": ledger})[0])


def standing(connection: Connection[Any], ledger: str) -> Standing | None:
    """Return where a ledger stands here, None if it never began to move."""
    row = _SQL["find"].row(connection, {"ledger": ledger})
    return None if row is None else Standing(*row)


def head(connection: Connection[Any]) -> int:
    """Return the newest position of an installation's journal."""
    return int(_SQL["head"].only(connection)[0])


def clock(connection: Connection[Any]) -> datetime:
    """Return the time by an installation's database."""
    now: datetime = _SQL["clock"].only(connection)[0]
    return now


def count_older_writers(connection: Connection[Any]) -> int:
    """Return how many writers of older releases are connected, which know nothing of moves."""
    return int(_SQL["older_writers"].only(connection)[0])


def begin_leaving(connection: Connection[Any], ledger: str, to: str) -> None:
    """Note that a ledger is copied to another installation. It is written here as before. Idempotent.

    Raises `CannotMove` if it is not written here, or moves to another installation.
    """
    with recording(connection):
        now = standing(connection, ledger)
        if now and now.state in ("leaving", "frozen"):
            if now.installation != to:
                raise CannotMove(f"{ledger} is being moved to {now.installation} already: cancel that first")
            return
        if now and now.state == "left":
            raise CannotMove(f"{ledger} has moved to {now.installation}: move it from there")
        if now and now.state == "arriving":
            raise CannotMove(f"{ledger} has not arrived here from {now.installation}: finish that move first")
        if last_of_ledger(connection, ledger) is None:
            raise CannotMove(f"there is no ledger {ledger}")
        _keep(connection, ledger, Standing("leaving", to))


def begin_arriving(connection: Connection[Any], ledger: str, origin: str, context: Context) -> None:
    """Take in a ledger from another installation. Until it has arrived, every command for it is refused. Idempotent.

    Raises `CannotMove` if it is here.
    """
    with recording(connection) as recorder:
        now = standing(connection, ledger)
        if now and now.state == "arriving" and now.installation == origin:
            return
        own = last_of_ledger(connection, ledger)
        if (own and now is None) or (now and now.state in ("leaving", "frozen", "here")):
            raise CannotMove(f"there is a ledger {ledger} already where it is to go")
        copied = now.copied if now else 0
        if now and now.state == "left" and own:
            copied = read_shown_positions(connection, ledger).shown(own[4])
        begun = ArrivalBegun(ledger=ledger, from_installation=origin)
        recorder.record([(arrival_stream(ledger), begun)], context)
        _keep(connection, ledger, Standing("arriving", origin, copied))


def copy(
    connection: Connection[Any],
    ledger: str,
    rows: Sequence[StretchRow],
    positions: ShownPositions,
    copied: int,
) -> int:
    """Append copies after those up to `copied`, and return where the last of them is shown.

    Raises `Overtaken` if others were copied since.
    """
    with recording(connection) as recorder:
        now = _standing_as(connection, ledger, "arriving")
        if now.copied != copied:
            raise Overtaken
        last = append_copies(connection, recorder, ledger, rows, positions)
        _keep(connection, ledger, now._replace(copied=last))
        return last


def freeze(connection: Connection[Any], ledger: str, to: str, context: Context) -> None:
    """Refuse every command for the ledger from now on, so that the rest of it can be copied."""
    with recording(connection) as recorder:
        now = _standing_as(connection, ledger, "leaving", to)
        recorder.record([(ledger_stream(ledger), MoveStarted(to_installation=to))], context)
        _keep(connection, ledger, now._replace(state="frozen"))


def cancel(connection: Connection[Any], ledger: str, context: Context) -> bool:
    """Give up a move, so that the ledger is written here again. Return whether there was one.

    Raises `CannotMove` if the ledger has left: then its move can only be finished.
    """
    with recording(connection) as recorder:
        now = standing(connection, ledger)
        if now and now.state == "left":
            raise CannotMove(f"{ledger} has left for {now.installation}: run the move again to finish it")
        if now is None or now.state not in ("leaving", "frozen"):
            return False
        if now.state == "frozen":
            cancelled = MoveCancelled(to_installation=now.installation)
            recorder.record([(ledger_stream(ledger), cancelled)], context)
        _SQL["forget"].run(connection, {"ledger": ledger})
        return True


def leave(connection: Connection[Any], ledger: str, to: str, digest: Digest, context: Context) -> None:
    """Let the ledger go: from now on it is only at the new place, once it has arrived there."""
    with recording(connection) as recorder:
        now = _standing_as(connection, ledger, "frozen", to)
        moved = Moved(to_installation=to, events=digest.events, root=digest.root)
        recorder.record([(ledger_stream(ledger), moved)], context)
        _keep(connection, ledger, now._replace(state="left"))


def arrive(
    connection: Connection[Any],
    ledger: str,
    moved: Row,
    positions: ShownPositions,
    context: Context,
) -> None:
    """Copy the ledger's last event at the old place, `ledger.moved`, and take commands for it here from now on.

    `positions` are those of the old place. Idempotent. Raises `Overtaken` if events before that one are not here.
    """
    left = decode(*moved)
    assert isinstance(left.event, Moved)
    with recording(connection) as recorder:
        now = standing(connection, ledger)
        if now is None:
            raise Overtaken
        if now.state != "arriving":  # it has arrived, and may even have left again
            return
        before = last_of_ledger(connection, ledger)
        if before is None or before[1] != moved[1] - 1:
            raise Overtaken
        shown = append_copies(connection, recorder, ledger, [(*moved, None)], positions)
        offset = offset_at(recorder.position + 2, shown)
        arrived = Arrived(from_installation=now.installation, position=shown, offset=offset)
        ended = ArrivalEnded(ledger=ledger, from_installation=now.installation)
        events: list[tuple[str, Event]] = [(arrival_stream(ledger), ended), (ledger_stream(ledger), arrived)]
        # Signed with the events, it shows whether somebody changed where the copies are shown.
        cause = read_cause(connection, ledger)
        recorder.record(events, context, left.envelope.recorded_at, cause)
        note_arrival(connection, ledger, recorder.position, offset)
        _keep(connection, ledger, now._replace(state="here", copied=shown))


def _standing_as(
    connection: Connection[Any], ledger: str, state: MoveState, other: str | None = None
) -> Standing:
    """Return where a ledger stands; raise `Overtaken` if that is not as it must be for the next step."""
    now = standing(connection, ledger)
    if now is None or now.state != state or other not in (None, now.installation):
        raise Overtaken
    return now


def _keep(connection: Connection[Any], ledger: str, now: Standing) -> None:
    _SQL["keep"].run(connection, {"ledger": ledger, **now._asdict()})
