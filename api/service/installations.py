"""The installations that one API process serves, and which of them a request is about."""

from collections.abc import Sequence
from functools import partial

from api.service.service import Service
from domain.journal.outage import is_denied
from domain.model.errors import JournalUnavailable
from domain.placement.ledger_map import LedgerMap


class Installations:
    """A service for each installation. Without a placement there is one, and no map."""

    def __init__(self, services: Sequence[Service], ledger_map: LedgerMap | None = None) -> None:
        """The first of the services is home. `ledger_map` says where ledgers are, None without a placement."""
        self.home = services[0]
        self.ledger_map = ledger_map
        self._services = {service.name: service for service in services}

    @property
    def is_placement(self) -> bool:
        """Whether ledgers are looked up in a map."""
        return self.ledger_map is not None

    @property
    def names(self) -> Sequence[str]:
        """The names of the installations, home's first."""
        return list(self._services)

    def named(self, name: str) -> Service:
        """Return the service of an installation. Raises `KeyError` if there is none of this name."""
        return self._services[name]

    def all(self) -> Sequence[tuple[str, Service]]:
        """Return every installation by name, home first."""
        return list(self._services.items())

    async def of(self, ledger: str) -> Service:
        """Return the service of the installation that holds a ledger; home for a ledger that is not in the map.

        Home answers that there is no such ledger. Raises `JournalUnavailable` if this process does not know the ledger
        and home is out of reach, or if it serves no installation of the name that the map has.
        """
        if self.ledger_map is None:
            return self.home
        name = self.ledger_map.known(ledger)
        if name is None:
            name = await self.home.look_up(partial(self.ledger_map.find, ledger=ledger))
        return self.home if name is None else self._serving(name)

    async def claim(self, ledger: str, name: str) -> Service:
        """Give a ledger that is to be opened to an installation, unless another has it. Return the one that has it.

        Raises `JournalUnavailable` if home is out of reach, or if this process serves no installation of that name.
        """
        if self.ledger_map is None:
            return self.home
        claim = partial(self.ledger_map.claim, ledger=ledger, installation=name)
        return self._serving(await self.home.look_up(claim))

    async def after_move(self, ledger: str, moved_to: str) -> Service:
        """Return the service of a ledger that is no longer where this process believed it to be.

        `moved_to` is the installation that it moved to from there: it is asked if home, which has the map, is away.
        """
        if self.ledger_map is not None:
            self.ledger_map.forget(ledger)
        try:
            return await self.of(ledger)
        except JournalUnavailable:
            return self._serving(moved_to)

    async def learn(self) -> None:
        """Read the map, so that this process knows it if home is away later. If it cannot be read now, do nothing."""
        if self.ledger_map is None:
            return
        try:
            await self.home.look_up(self.ledger_map.learn)
        except Exception as error:
            if not (isinstance(error, JournalUnavailable) or is_denied(error)):
                raise

    def _serving(self, name: str) -> Service:
        if name not in self._services:
            words = "The ledger is in an installation that this server was not told of."
            raise JournalUnavailable("installation_unknown", words)
        return self._services[name]
