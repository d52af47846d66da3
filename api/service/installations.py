"""The installations that one API process serves, and which of them a request is about."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from api.service.service import Service
from domain.journal.outage import is_denied
from domain.model.errors import JournalUnavailable, LedgerMissing, LedgerMoved, LedgerNotFound
from domain.placement.installations import not_served
from domain.placement.ledger_map import LedgerMap
from domain.placement.moves import standing

Said = TypeVar("Said")


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

    def is_known(self, ledger: str) -> bool:
        """Tell whether this process remembers where a ledger is."""
        return self.ledger_map is not None and self.ledger_map.known(ledger) is not None

    def follow(self, ledger: str, name: str) -> Service:
        """Return the service of the installation that a ledger is in, as it says itself, and remember it.

        Raises `JournalUnavailable` if this process serves no installation of that name.
        """
        assert self.ledger_map is not None
        self.ledger_map.forget(ledger)
        service = self._serving(name)
        self.ledger_map.follow(ledger, name)
        return service

    async def has_placed(self, ledger: str) -> bool:
        """Tell whether the map gives a ledger to an installation. Raises `JournalUnavailable` if home is away."""
        if self.ledger_map is None:
            return False
        known = self.ledger_map.known(ledger)
        return bool(known or await self.home.look_up(partial(self.ledger_map.find, ledger=ledger)))

    async def claim(self, ledger: str, name: str) -> Service:
        """Give a ledger that is to be opened to an installation, unless another has it. Return the one that has it.

        Raises `JournalUnavailable` if home is out of reach, or if this process serves no installation of that name.
        """
        if self.ledger_map is None:
            return self.home
        claim = partial(self.ledger_map.claim, ledger=ledger, installation=name)
        return self._serving(await self.home.look_up(claim))

    async def asked(self, ledger: str, service: Service, ask: Callable[[Service], Awaitable[Said]]) -> Said:
        """Return what the installation says that holds a ledger: a service, or where that says that the ledger moved.

        What is asked must not be about another ledger. Raises what is asked raises: `LedgerMoved` only without a
        placement, or if the ledger moves faster than it is followed. Raises `JournalUnavailable` if the ledger is in an
        installation that this process does not serve, and `LedgerMissing` if that has no such ledger.
        """
        try:
            return await self._asked_in_turn(ledger, service, ask)
        except LedgerNotFound:
            if self.ledger_map is None or (remembered := self.ledger_map.known(ledger)) is None:
                raise  # no installation holds it
        # This process may remember a place that the ledger has left, and that was restored since.
        self.ledger_map.forget(ledger)
        holder = await self.of(ledger)
        if holder.name != remembered:
            with suppress(LedgerNotFound):
                return await self._asked_in_turn(ledger, holder, ask)
        raise LedgerMissing(ledger, self.ledger_map.known(ledger) or holder.name)

    async def require_nobody_left_for(self, ledger: str, service: Service) -> None:
        """Raise `LedgerMissing` if another installation has let a ledger go to this one, which does not have it.

        Raises `JournalUnavailable` if that cannot be said now.
        """
        for other in self._services.values():
            now = None if other is service else await other.look_up(partial(standing, ledger=ledger))
            if now is not None and now.state == "left" and now.installation == service.name:
                raise LedgerMissing(ledger, service.name)

    async def _asked_in_turn(
        self, ledger: str, service: Service, ask: Callable[[Service], Awaitable[Said]]
    ) -> Said:
        """Return what the first installation says that does not say that the ledger moved from there."""
        for _ in range(len(self._services) - 1):
            try:
                return await ask(service)
            except LedgerMoved as moved:
                service = self.follow(ledger, moved.details["installation"])
        return await ask(service)

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
            raise not_served(name)
        return self._services[name]
