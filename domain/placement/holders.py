"""The application that holds a ledger, for those who send it commands of their own accord, in threads."""

from collections.abc import Mapping
from functools import partial

from eventsourcing.persistence import InterfaceError, OperationalError

from domain.application import LedgerApplication
from domain.journal.outage import reason_of
from domain.model.errors import JournalUnavailable
from domain.placement.installations import not_served
from domain.placement.ledger_map import LedgerMap


class Holders:
    """Finds the application that holds a ledger. Its methods may block, and are called from several threads at once."""

    def __init__(
        self, applications: Mapping[str, LedgerApplication], ledger_map: LedgerMap | None = None
    ) -> None:
        """`applications` are those of the installations by name, home's first. Without a placement there is no map."""
        self._applications = applications
        self._home_name, self._home = next(iter(applications.items()))
        self._map = ledger_map

    def of(self, ledger: str) -> LedgerApplication:
        """Return the application that holds a ledger; home's for a ledger that is not in the map.

        Raises `JournalUnavailable` if this process does not know the ledger and home is out of reach, or if it serves
        no installation of the name that the map has.
        """
        if self._map is None:
            return self._home
        name = self._map.known(ledger) or self._looked_up(self._map, ledger)
        if name is None:
            return self._home
        if name not in self._applications:
            raise not_served(name)
        return self._applications[name]

    def name_of(self, ledger: str) -> str | None:
        """Return the installation that holds a ledger as this process remembers it, None if it does not."""
        return self._home_name if self._map is None else self._map.known(ledger)

    def is_placed(self, ledger: str) -> bool:
        """Tell whether a map gives the ledger to an installation, as this process remembers it."""
        return self._map is not None and self._map.known(ledger) is not None

    def forget(self, ledger: str) -> None:
        """Forget where a ledger was, so that the next look-up asks home."""
        if self._map is not None:
            self._map.forget(ledger)

    def follow(self, ledger: str, name: str) -> LedgerApplication:
        """Return the application of the installation that a ledger has moved to, and remember it.

        Raises `JournalUnavailable` if this process does not serve that installation.
        """
        if self._map is None:
            raise not_served(name)
        self._map.forget(ledger)
        if name not in self._applications:
            raise not_served(name)
        self._map.follow(ledger, name)
        return self._applications[name]

    def _looked_up(self, ledger_map: LedgerMap, ledger: str) -> str | None:
        try:
            return self._home.datastore.read(partial(ledger_map.find, ledger=ledger))
        except (OperationalError, InterfaceError) as error:
            raise JournalUnavailable(reason_of(error)) from error
