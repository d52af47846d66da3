"""Where the checkpoints of a log are fetched from: here, the database of an installation of the same placement."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from domain.journal.database import Database
from domain.model.errors import InvalidRequest
from domain.transparency.signed_notes import Verifier
from projections.engine.projection import Inconsistent
from projections.errors import ProjectionBehind
from projections.transparency.checkpoints import read_newest, read_verifiers
from projections.transparency.proofs import prove_growth
from projections.witnessing.judgement import NotWitnessed, Path, Shown
from projections.witnessing.logs import own_size


class Source(Protocol):
    """A log of another installation, and the keys of it that the operator trusts."""

    @property
    def name(self) -> str:
        """The name by which this installation calls the other."""

    @property
    def configured(self) -> Sequence[Verifier]:
        """The keys that the operator has configured. None: the first key that is seen is trusted."""

    def look(self, size: int) -> tuple[Shown, Path] | None:
        """Return what the log shows, and the proof between its first `size` events and those of its checkpoint.

        None if it has signed nothing yet. Raises `NotWitnessed`, and `psycopg.Error` if it is a database.
        """


class DatabaseLog(NamedTuple):
    """The log of an installation whose database can be read."""

    name: str
    database: Database
    configured: Sequence[Verifier] = ()

    def look(self, size: int) -> tuple[Shown, Path] | None:
        """Return what the installation has signed last, with the proof read from its tree."""
        with self.database.connect("tallystick witness") as connection:
            # First the size: an event that comes in between is seen at the next look.
            own = own_size(connection)
            signed = read_newest(connection)
            if signed is None:
                return None
            first, second = sorted((size, signed.size))
            path: Path
            try:
                path = prove_growth(connection, first, second).path
            except InvalidRequest:
                path = None
            except (ProjectionBehind, Inconsistent) as error:
                raise NotWitnessed(f"its tree: {error}") from error
            return Shown(signed.note, read_verifiers(connection), own), path
