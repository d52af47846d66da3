"""The service: one connection pool and one API key, and the ledgers in it."""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx2

from ..resources import LedgerInfo
from ..retries import Policy
from . import lists
from .calls import Calls
from .ledger import Ledger
from .transport import Transport


class Tallystick:
    """A service at a URL, called with an API key (`tk_…`). Use it in a `with` statement, which closes its connections.

    `transport` replaces the network, for tests.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        policy: Policy | None = None,
        *,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._transport = Transport(url, api_key, policy or Policy(), transport)
        self._installation = Calls(self._transport, "/v1")
        self._ledgers: dict[str, Ledger] = {}

    def __enter__(self) -> Self:
        self._transport.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._transport.__exit__(kind, error, traceback)

    def ledger(self, name: str, *, position: int = 0) -> Ledger:
        """Return a ledger. Its lists reach at least `position`, such as one that another process handed on."""
        ledger = self._ledgers.setdefault(name, Ledger(self._transport, name))
        ledger.know(position)
        return ledger

    def open_ledger(
        self, name: str, metadata: Mapping[str, str] | None = None, *, installation: str | None = None
    ) -> Ledger:
        """Open a ledger, in an installation of a placement, home by default. Idempotent.

        Raises `LedgerExists` if it was opened with other metadata, or in another installation than the one named.
        """
        body: dict[str, Any] = {"name": name, "metadata": dict(metadata or {})}
        if installation is not None:
            body["installation"] = installation
        made = self._installation.write(LedgerInfo, "ledgers", body)
        return self.ledger(name, position=made.position)

    def ledgers(self) -> Iterator[LedgerInfo]:
        """Yield all ledgers that the API key was granted.

        In a placement it ends only once every installation has answered to its end. It waits for one that does not, and
        raises `Unavailable` at the deadline.
        """
        return lists.items(self._installation, "ledgers", LedgerInfo)
