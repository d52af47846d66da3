"""Brings the installations of a placement up to date: those within reach at the start, and the others once they are.

An installation that is away keeps no other from serving. So each is prepared in a thread of its own, which tries until
it succeeds. An installation is prepared when its migrations are applied and its projections are registered; then home's
map has its ledgers entered.
"""

import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg
import structlog

from domain.journal.migrations import migrate
from domain.journal.trouble import trouble_of
from domain.model.errors import JournalUnavailable
from domain.placement.installations import Installation, identity
from domain.placement.ledger_map import LedgersConflict, arrived, enter, held, is_kept, take
from projections.registry import install

if TYPE_CHECKING:
    from domain.journal.database import Database

RETRY_SECONDS = 0.5
TROUBLED_SECONDS = 2.0
"""How long the start waits for installations in trouble if others can be used: one restart of them, not an outage."""

LONGEST_PAUSE_SECONDS = 10.0
HOME_SECONDS = 2.0
SAY_SECONDS = 60.0

_LOCKED = "another session holds the journal's lock, so the bootstrap key cannot be recorded"
_log = structlog.get_logger(__name__)


class NothingPrepared(Exception):
    """No installation of the placement can be used. The message says what is wrong with the first of them."""


class SameInstallation(Exception):
    """Two names lead to one installation, or to copies of one."""


class WronglyNamed(Exception):
    """Home is not the first, or an installation has another name than the map gives it."""


class Preparation:
    """Prepares the installations of a placement, home first."""

    def __init__(self, placed: Sequence[Installation], prepare_keys: Callable[["Database"], None]) -> None:
        """`prepare_keys` ensures that home has a key. It raises what `ensure_bootstrap_key` raises."""
        self._placed = placed
        self._prepare_keys = prepare_keys
        self._prepared = {installation.name: threading.Event() for installation in placed}
        self._entered = {installation.name: threading.Event() for installation in placed}
        self._looked_at = {installation.name: threading.Event() for installation in placed}
        self._keepers: set[str] = set()
        self._troubles: dict[str, str] = {}
        self._names: dict[UUID, str] = {}
        self._fault: Exception | None = None

    def start(self, patience_seconds: float) -> None:
        """Begin to prepare, and return when all is done, or only those are not done that are in trouble for a while.

        It never takes longer than `patience_seconds`. Raises `LedgersConflict` if two installations have a ledger of
        one name, `WronglyNamed` if they were named otherwise before, `SameInstallation` if two names lead to one,
        `NothingPrepared` if none can be used by then, and what `prepare_keys` raises.
        """
        for installation in self._placed:
            name = f"prepare {installation.name}"
            threading.Thread(target=self._keep_trying, args=(installation,), name=name, daemon=True).start()
        began = monotonic()
        while left := [name for name, event in self._entered.items() if not event.is_set()]:
            if self._fault is not None:
                raise self._fault
            seconds, usable = monotonic() - began, any(event.is_set() for event in self._prepared.values())
            are_in_trouble = usable and all(name in self._troubles for name in left)
            if seconds > (min(TROUBLED_SECONDS, patience_seconds) if are_in_trouble else patience_seconds):
                break
            self._entered[left[0]].wait(0.05)
        if not any(event.is_set() for event in self._prepared.values()):
            raise NothingPrepared(next(iter(self._troubles.values()), "the database does not answer"))

    def is_prepared(self, name: str) -> bool:
        """Tell whether an installation has its migrations and projections, so that its processes can start."""
        return self._prepared[name].is_set()

    def _keep_trying(self, installation: Installation) -> None:
        pause_seconds, say_at = RETRY_SECONDS, 0.0
        while (words := self._try(installation)) is not None:
            self._troubles[installation.name] = words
            self._looked_at[installation.name].set()
            if monotonic() > say_at:
                say_at = monotonic() + SAY_SECONDS
                _log.warning("waiting for an installation", installation=installation.name, error=words)
            self._entered[installation.name].wait(pause_seconds)
            pause_seconds = min(pause_seconds * 1.5, LONGEST_PAUSE_SECONDS)
        if say_at:
            _log.warning("installation prepared", installation=installation.name)

    def _try(self, installation: Installation) -> str | None:
        """Take the next steps; return what is wrong in words, None when all is done."""
        name, database = installation
        is_home = installation is self._placed[0]
        try:
            if not self.is_prepared(name):
                migrate(database)
                install(database)
                if is_home:
                    self._require_first(database)
                    self._prepare_keys(database)
            with database.connect("tallystick placement") as connection:
                self._require_own(name, identity(connection))
                ledgers, moved = held(connection), arrived(connection)
                if is_kept(connection):
                    self._keepers.add(name)
                self._looked_at[name].set()
            self._prepared[name].set()
        except psycopg.Error as error:
            return trouble_of(error, database).words
        except JournalUnavailable:
            return _LOCKED
        except Exception as error:  # noqa: BLE001  it is raised where the service is started
            self._fault = error
            return str(error)
        return self._enter(name, ledgers, moved)

    def _require_own(self, name: str, id: UUID) -> None:
        first = self._names.setdefault(id, name)
        if first != name:
            raise SameInstallation(f"{first} and {name} are one installation, or one is a copy of the other")

    def _require_first(self, database: "Database") -> None:
        """Raise `WronglyNamed` if home has no map and another has, as far as that is seen in time. Nothing is entered
        then."""
        with database.connect("tallystick placement") as connection:
            if is_kept(connection):
                return
        home, *others = [installation.name for installation in self._placed]
        until = monotonic() + HOME_SECONDS
        for name in others:
            self._looked_at[name].wait(max(0.0, until - monotonic()))
            if name in self._keepers:
                raise WronglyNamed(
                    f"{name} has the keys and the map of a placement, and {home} has none: home is named first in"
                    " TALLYSTICK_INSTALLATIONS"
                )

    def _enter(self, name: str, ledgers: Sequence[str], moved: Sequence[str]) -> str | None:
        home = self._placed[0]
        if not self._prepared[home.name].wait(HOME_SECONDS):
            return f"its ledgers cannot be entered into the map: {home.name} is not prepared"
        try:
            with home.database.connect("tallystick placement") as connection:
                take(connection, name, moved)
                enter(connection, name, ledgers)
        except psycopg.Error as error:
            return trouble_of(error, home.database).words
        except LedgersConflict as error:
            self._fault = self._renamed(name, error) or error
            return str(self._fault)
        self._entered[name].set()
        return None

    def _renamed(self, name: str, conflict: LedgersConflict) -> WronglyNamed | None:
        """Return what is wrong if ledgers are in conflict with an installation that is not named."""
        names = {installation.name for installation in self._placed}
        for ledger, other in conflict.others:
            if other not in names:
                return WronglyNamed(
                    f"{name} has the ledger {ledger}, which the map gives to {other}, and TALLYSTICK_INSTALLATIONS does"
                    f" not name {other}: an installation keeps its name"
                )
        return None
