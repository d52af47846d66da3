"""The witness: records the newest checkpoints of other installations, and stops at one that does not follow.

Every so often it looks at each log. It records at most one event of a log each time, and none if the log has recorded
nothing but what it witnessed itself. So two installations that witness each other come to rest.

Any number of projectors may run. One of them holds the place to witness. The looks at other installations are made in
threads, so that the place is kept while one of them does not answer.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec
import psycopg
import structlog
from psycopg import Connection

from domain.journal.database import Database
from domain.journal.encoding import UnreadableEvent
from domain.model.errors import JournalUnavailable
from domain.model.events import Context, Event
from domain.model.installation.checkpoints import CheckpointDisputed, WitnessedLog
from domain.transparency.cosignatures import cosignature
from domain.transparency.signed_notes import Signer, text_of
from projections.engine.leadership import Loop, pause, result_of
from projections.transparency.checkpoints import read_verifiers, take_keys
from projections.witnessing.judgement import Judged, NotWitnessed, Path, Shown, judge
from projections.witnessing.logs import failed, read_logs, record, saw, watch
from projections.witnessing.settings import DEFAULT_PERIOD_SECONDS
from projections.witnessing.sources import Source

LOOK_TIMEOUT_SECONDS = 90.0
ACTOR = "tallystick"

Seen = tuple[Shown, Path] | None
_log = structlog.get_logger(__name__)


class Witness:
    """Witnesses some logs for as long as it holds the place."""

    def __init__(
        self,
        database: Database,
        sources: Sequence[Source],
        seeds: Sequence[bytes],
        stop: threading.Event,
        period_seconds: float = DEFAULT_PERIOD_SECONDS,
    ) -> None:
        """`seeds` are those of the keys that sign this installation's checkpoints. Without any, the stored key is used.

        Each log is looked at every `period_seconds`.
        """
        self._loop = Loop(database, "witness", ("witnessing", "logs"))
        self._sources = sources
        self._seeds = seeds
        self._stop = stop
        self._period_seconds = period_seconds

    def run(self) -> None:
        """Run until stopped. After a failure start again."""
        self._loop.run(self._stop, self._serve)

    def _serve(self, connection: Connection[Any]) -> None:
        threads = ThreadPoolExecutor(len(self._sources), thread_name_prefix="witness")
        try:
            watch(connection, *(source.name for source in self._sources))
            while not self._stop.is_set():
                witness_all(connection, self._sources, self._seeds, threads)
                pause(connection, self._stop, self._period_seconds)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def witness_all(
    connection: Connection[Any],
    sources: Sequence[Source],
    seeds: Sequence[bytes],
    threads: ThreadPoolExecutor,
) -> None:
    """Look once at each log and record what is new. Only the holder of the place may call this."""
    signer = _signer(connection, seeds)
    if signer is None:
        return  # the sealer makes a key within its first second
    looks = []
    for source in sources:
        try:
            log = read_logs(connection, source.name).get(source.name)
        except UnreadableEvent as error:
            failed(connection, source.name, f"a newer release recorded what was witnessed: {error}")
            continue
        if log is None or log.dispute is None:
            looks.append((source, log, threads.submit(source.look, log.size if log else 0)))
    for source, log, look in looks:
        try:
            _judge(connection, source, log, _seen(connection, look, source.name), signer)
        except NotWitnessed as error:
            _log.warning("checkpoint not witnessed", log=source.name, reason=str(error))
            failed(connection, source.name, str(error))


def _signer(connection: Connection[Any], seeds: Sequence[bytes]) -> Signer | None:
    if not seeds and not read_verifiers(connection):
        return None
    return take_keys(connection, seeds).signers[0]


def _seen(connection: Connection[Any], look: "Future[Seen]", name: str) -> Seen:
    """Return what another installation showed. Raises `NotWitnessed`, also if the look failed or takes too long.

    Whatever a log answers, it must not hold up the looks at others.
    """
    try:
        return result_of(connection, look, LOOK_TIMEOUT_SECONDS)
    except Late:
        look.cancel()
        raise NotWitnessed(f"no answer within {LOOK_TIMEOUT_SECONDS:.0f} s") from None
    except NotWitnessed:
        raise
    except Exception as error:
        if not look.done() or look.exception() is not error:
            raise  # the connection that holds the place is lost
        if isinstance(error, psycopg.Error):
            words = "; ".join(line.strip() for line in str(error).splitlines())
            raise NotWitnessed(f"its database: {words}") from error
        _log.error("look at a log failed", log=name, exc_info=error)
        raise NotWitnessed(f"its answer could not be read: {type(error).__name__}") from error


def _judge(
    connection: Connection[Any], source: Source, log: WitnessedLog | None, seen: Seen, signer: Signer
) -> None:
    if seen is None:
        return  # nothing is signed there yet
    shown, path = seen
    if log is None and shown.checkpoint.origin == signer.name:
        raise NotWitnessed("it is the log of this installation itself, which proves nothing of itself")
    judged = judge(log, shown, path, source.configured)
    if judged is not None:
        by = Context(ACTOR, str(uuid4()))
        try:
            if not record(connection, source.name, log, lambda now: _signed(judged, signer, now), by):
                return  # an operator decided meanwhile
        except JournalUnavailable as error:
            raise NotWitnessed(f"it could not be recorded: {error}") from error
    if isinstance(judged, CheckpointDisputed):
        words = f"disputed: {judged.contradiction}"
        _log.error("checkpoint disputed", log=source.name, contradiction=judged.contradiction)
        failed(connection, source.name, words)
    else:
        saw(connection, source.name, shown.checkpoint.size)


def _signed(judged: Judged, signer: Signer, now: datetime) -> Event:
    """Return the event with the cosignature of this installation, if there is anything to cosign."""
    if isinstance(judged, CheckpointDisputed):
        return judged
    line = cosignature(signer, text_of(judged.note), int(now.timestamp()))
    return msgspec.structs.replace(judged, cosignature=line)
