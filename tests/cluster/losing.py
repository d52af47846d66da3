"""Losing primaries one after the other under load, and what becomes of the writes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from domain.journal.database import Database
from projections import audit
from projections.running.positions import all_progress
from tests.cluster.cluster import LOSSES_AND_TWICE, Cluster
from tests.cluster.history import violations
from tests.cluster.load import ACCOUNTS, Load, longest_silence
from tests.service import Service, post_account, post_ledger, serving

ACKNOWLEDGED_AGAIN = 20
"""So many writes acknowledged after a silence mean that writing goes on."""

GOES_ON_SECONDS = 120.0


class Outage(NamedTuple):
    """What was lost, and for how long."""

    loss: str
    seconds: float
    """How long no write was acknowledged."""
    alone_seconds: float | None
    """How long the new primary had no successor. None if the loss asks for no new primary."""


@contextmanager
def served(cluster: Cluster, folder: Path) -> Iterator[list[Service]]:
    """Two services on the cluster, as on two machines, with a ledger to write to. One runs the projections."""
    with ExitStack() as stack:
        services = [
            stack.enter_context(serving(folder / name, "--database-url", cluster.url, *options))
            for name, options in (("first", ()), ("second", ("--no-projector",)))
        ]
        with services[0].client() as client:
            post_ledger(client)
            for account in ACCOUNTS:
                post_account(client, account)
        yield services


def lose(cluster: Cluster, load: Load, loss: str) -> Outage:
    """Lose the primary, wait until writing goes on at another or anew, and have what was lost come back."""
    primary = cluster.await_health()
    lost = cluster.identity()
    began_at = monotonic()
    begin, end, lasts_seconds = LOSSES_AND_TWICE[loss]
    begin(cluster, primary)
    try:
        if lasts_seconds:
            sleep(lasts_seconds)
        else:
            _await(lambda: cluster.identity() not in (None, lost), cluster, "another primary")
        moved_at = monotonic()
        _await(lambda: len(load.acknowledged_since(moved_at)) >= ACKNOWLEDGED_AGAIN, cluster, "writes")
        alone_seconds = None
        if not lasts_seconds:
            _await(cluster.has_successor, cluster, "successor")
            alone_seconds = monotonic() - moved_at
    finally:
        end(cluster, primary)
    return Outage(loss, longest_silence(load.acknowledged_since(began_at), began_at), alone_seconds)


def _await(condition: Callable[[], bool], cluster: Cluster, awaited: str) -> None:
    give_up_at = monotonic() + GOES_ON_SECONDS
    while not condition():
        if monotonic() > give_up_at:
            raise AssertionError(f"no {awaited} for {GOES_ON_SECONDS} s:\n{cluster.logs()}")
        sleep(0.1)


def broken_promises(cluster: Cluster, load: Load) -> list[str]:
    """Return everything that was answered and does not fit the journal, and whatever is wrong with the books.

    The projections must reach the end of the journal.
    """
    database = Database(cluster.url)
    history = load.history(database)
    with database.connect("test") as connection:
        _await(
            lambda: all(each.reflects(each.head) for each in all_progress(connection)), cluster, "projections"
        )
        with audit.one_instant(connection):
            wrong = [str(found) for found in audit.violations(connection)]
        wrong += [str(found) for found in audit.differences(connection)]
    return [
        *load.faults,
        *(f"{code}: {words}" for code, words in violations(history)),
        *wrong,
    ]
