"""What other ledgers do, measured elsewhere by others or by us: for orientation, never mixed with the figures of a run.

A figure from another machine or another day proves nothing here. The comparable figures are in the table of the run:
there each workload has the shape its peer publishes, next to a yardstick on the same machine at the same time.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rich.box import SIMPLE
from rich.table import Table

_MEASURED = "measured by us once, 2 cores, quiet, fsync on"
_PUBLISHED = "its README, on an Apple M3, PostgreSQL as installed"


class PeerFigure(NamedTuple):
    """A figure of a peer: the workload, its transfers per second, and the source."""

    peer: str
    workload: str
    transfers_per_second: str
    source: str


PEER_FIGURES: Sequence[PeerFigure] = (
    PeerFigure("TigerBeetle", "one transfer a request, any concurrency", "1,700–1,900", _MEASURED),
    PeerFigure("TigerBeetle", "its client gathers what waits", "7,700", _MEASURED),
    PeerFigure("TigerBeetle", "requests of 8,189 transfers", "267,000", _MEASURED),
    PeerFigure("pgledger", "pgbench, 8 clients, uniform", "2,500", _MEASURED),
    PeerFigure("pgledger", "pgbench, 8 clients, one hot account", "1,200", _MEASURED),
    PeerFigure("pgledger", "pgbench, 32 clients, one hot account", "750", _MEASURED),
    PeerFigure("pgledger", "20 workers, 50 accounts", "10,637", _PUBLISHED),
    PeerFigure("pgledger", "20 workers, 10 accounts", "7,559", _PUBLISHED),
    PeerFigure("eventsourcing", "as it comes, 1,000 accounts", "370–570", _MEASURED),
    PeerFigure("eventsourcing", "as it comes, 10 accounts", "200", _MEASURED),
)
"""None includes HTTP or projections. Formance is missing, because no figure for its shapes says on which machine it was
taken.
"""


def peers_table() -> Table:
    """Return the table of the peers' figures, which are not of this run."""
    shown = Table(title="Elsewhere, not in this run: what peers do", box=SIMPLE)
    for column in ("peer", "workload", "transfers/s", "source"):
        shown.add_column(column)
    for figure in PEER_FIGURES:
        shown.add_row(*figure)
    return shown
