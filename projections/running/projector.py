"""The projector: keeps the live version of every projection up to date, and rebuilds those that are asked for.

It advances only the versions whose shapes this release knows. The projectors of other releases advance theirs. Any
number of projectors may run: for each projection and shape one of them holds the place, and the others stand by. A
place is free as soon as the connection of its holder is gone. Projections that keep step advance together
(`convoy.py`); one that cannot advances alone (`runner.py`). A projector is woken by a notification when events arrive.
Since a notification can be missed, it polls as well.
"""

import threading
from collections.abc import Collection, Iterable, Sequence

import psycopg
import structlog

from domain.journal.database import Database
from domain.journal.outage import DATABASE, is_lost
from domain.tracing import Tracer
from projections.engine.leadership import Pauses
from projections.engine.projection import Projection
from projections.engine.recent_events import RecentEvents
from projections.read_models import seals
from projections.rebuilding.rebuilder import Rebuilder
from projections.registry import PROJECTIONS, install
from projections.running.batch_spans import BatchSpans
from projections.running.convoy import Convoy
from projections.running.runner import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Runner, tell_nobody
from projections.running.shares import Share
from projections.transparency.signer import Sealer
from projections.witnessing.settings import DEFAULT_PERIOD_SECONDS
from projections.witnessing.sources import Source
from projections.witnessing.witness import Witness

_log = structlog.get_logger(__name__)


def run_projector(
    database: Database,
    stop: threading.Event,
    projections: Iterable[Projection] = tuple(PROJECTIONS.values()),
    signing_seeds: Sequence[bytes] = (),
    tracer: Tracer | None = None,
    share: Share = Share(),  # noqa: B008  immutable
    witnessed: Sequence[Source] = (),
    witness_seconds: float = DEFAULT_PERIOD_SECONDS,
) -> None:
    """Install projections, run them and carry out their rebuilds until `stop` is set. Failures are retried.

    If the seals are among the projections, checkpoints are signed as well: with the keys of `signing_seeds`, or with a
    stored key if none are given. `tracer` is told of the batches that have events of sampled traces. `share` says which
    of the projections are this process's while all processes run (`shares.py`). The logs in `witnessed` are looked at
    every `witness_seconds`.
    """
    projections = tuple(projections)
    _prepare(database, stop, projections)
    tail = RecentEvents()
    tell = tell_nobody if tracer is None else BatchSpans(tracer)
    runners = [Runner(database, projection, stop, tail, tell) for projection in projections]
    convoy = Convoy(database, runners, stop, tail, tell, share)
    threads = [
        threading.Thread(target=convoy.run, name="projections", daemon=True),
        threading.Thread(target=Rebuilder(database, stop, projections).run, name="rebuilds", daemon=True),
    ]
    if seals.PROJECTION in projections:
        sealer = Sealer(database, signing_seeds, stop)
        threads.append(threading.Thread(target=sealer.run, name="sealer", daemon=True))
    if witnessed:
        witness = Witness(database, witnessed, signing_seeds, stop, witness_seconds)
        threads.append(threading.Thread(target=witness.run, name="witness", daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _prepare(database: Database, stop: threading.Event, projections: Collection[Projection]) -> None:
    pauses = Pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
    while not stop.is_set():
        try:
            install(database, projections)
            DATABASE.back("installation")
            return
        except psycopg.Error as error:
            if is_lost(error):
                DATABASE.lost("installation", error)
            else:
                _log.warning("projections cannot be installed yet", error=str(error))
            stop.wait(pauses.next_seconds())
    DATABASE.ended("installation")
