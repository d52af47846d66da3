"""The map of a placement: ledger → installation, kept by home and remembered by each process.

A remembered entry can be wrong, since another process may have moved the ledger. That does no harm: the installation
that a ledger has left refuses every command for it. Whoever is refused forgets the entry and asks home again.
"""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from domain.journal.queries import load

MAX_KNOWN_LEDGERS = 100_000

_SQL = load(__name__)


class LedgersConflict(Exception):
    """Two installations have a ledger of the same name, so no map can say which of them is meant."""


class LedgerMap:
    """Which installation holds each ledger. The methods that take a connection take one of home."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def known(self, ledger: str) -> str | None:
        """Return the installation of a ledger as this process remembers it, None if it does not."""
        return self._known.get(ledger)

    def find(self, connection: Connection[Any], ledger: str) -> str | None:
        """Return the installation that holds a ledger, None if none does, and remember it."""
        row = _SQL["find"].row(connection, {"ledger": ledger})
        return None if row is None else self._remember(ledger, row[0])

    def learn(self, connection: Connection[Any]) -> None:
        """Remember many entries at once, so that this process knows them if home is away later."""
        for ledger, installation in _SQL["newest"].rows(connection, {"limit": MAX_KNOWN_LEDGERS // 2}):
            self._known.setdefault(ledger, installation)

    def claim(self, connection: Connection[Any], ledger: str, installation: str) -> str:
        """Give a ledger that is to be opened to an installation, unless another has it. Return the one that has it."""
        claimed = {"ledger": ledger, "installation": installation}
        return self._remember(ledger, _SQL["claim"].only(connection, claimed)[0])

    def forget(self, ledger: str) -> None:
        """Forget where a ledger was: the next look-up asks home."""
        self._known.pop(ledger, None)

    def _remember(self, ledger: str, installation: str) -> str:
        if len(self._known) >= MAX_KNOWN_LEDGERS:
            self._known.clear()
        self._known[ledger] = installation
        return installation


def move(connection: Connection[Any], ledger: str, installation: str) -> None:
    """Record in home's map that another installation holds a ledger. Raises `KeyError` if the map does not have it."""
    if _SQL["move"].row(connection, {"ledger": ledger, "installation": installation}) is None:
        raise KeyError(ledger)


def held(connection: Connection[Any]) -> Sequence[str]:
    """Return the ledgers that an installation holds, by its own journal."""
    return [ledger for (ledger,) in _SQL["held"].rows(connection)]


def enter(home: Connection[Any], installation: str, ledgers: Sequence[str]) -> None:
    """Enter the ledgers that an installation holds into home's map.

    Raises `LedgersConflict` if the map gives one of them to another installation. Then none is entered.
    """
    of = {"installation": installation, "ledgers": list(ledgers)}
    with home.transaction():
        _SQL["enter"].run(home, of)
        if others := _SQL["elsewhere"].rows(home, of):
            named = ", ".join(f"{ledger} (in {installation} and {other})" for ledger, other in others[:5])
            more = f" and {len(others) - 5} more" if len(others) > 5 else ""
            raise LedgersConflict(f"two installations have a ledger of the same name: {named}{more}")
