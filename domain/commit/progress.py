"""Progress: how far the journal is committed, and why nothing is committed now."""

from collections.abc import Callable, Mapping
from time import monotonic

from domain.commit.decider import DecidedBatch, Decider
from domain.journal.database import Database
from domain.journal.outage import Outage, outage_of
from domain.journal.snapshots import Snapshotter
from domain.model.events import State


class CommitProgress:
    """What this writer knows of its commits. Each way of committing notes its commits here."""

    def __init__(
        self,
        database: Database,
        decider: Decider,
        snapshotter: Snapshotter,
        observe: Callable[[int, int, float], None],
    ) -> None:
        """`observe` is called for each batch with commands, events, and seconds from decision to commit."""
        self._decider = decider
        self._snapshotter = snapshotter
        self._observe = observe
        self.database_outage = outage_of(database)
        self.outage = Outage("journal", of=database)
        """Logs that callers are refused while the database is within reach."""
        self.position = 0
        """The newest position of the journal that this writer knows to be committed."""
        self.decided_at_seconds = 0.0
        """When the newest committed batch was decided, by the monotonic clock."""
        self.trouble: str | None = None
        """Why nothing is committed now, or None if all is well."""

    def committed(self, batch: DecidedBatch, since: Mapping[str, State]) -> None:
        """Note a commit and offer snapshots. `since` is the parameter of `Decider.settled`."""
        self.database_outage.back("writer")
        self.outage.back("writer")
        self.position = batch.rows.last
        self.decided_at_seconds = batch.decided_at_seconds
        self.trouble = None
        self._observe(len(batch.results), len(batch.rows.streams), monotonic() - batch.decided_at_seconds)
        self._snapshotter.consider(self._decider.settled(batch, since))
