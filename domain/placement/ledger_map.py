"""The map of a placement: ledger → installation, kept by home and remembered by each process.

A remembered entry can be wrong, since another process may have moved the ledger, and so can home's, which is changed
last. That does no harm: the installation that a ledger has left refuses every command for it, and says where it went.
Whoever is refused remembers that, and asks there.
"""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from domain.journal.queries import load

MAX_KNOWN_LEDGERS = 100_000

_SQL = load(__name__)


class LedgersConflict(Exception):
    """Two installations have a ledger of the same name, so no map can say which of them is meant."""

    def __init__(self, installation: str, others: Sequence[tuple[str, str]]) -> None:
        """`others` are ledgers of the installation, each with the one that the map gives it to."""
        named = ", ".join(f"{ledger} (in {installation} and {other})" for ledger, other in others[:5])
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        super().__init__(f"two installations have a ledger of the same name: {named}{more}")
        self.others = others


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

    def follow(self, ledger: str, installation: str) -> None:
        """Remember where a ledger has moved to, as the installation says that it left."""
        self._remember(ledger, installation)

    def _remember(self, ledger: str, installation: str) -> str:
        if len(self._known) >= MAX_KNOWN_LEDGERS:
            self._known.clear()
        self._known[ledger] = installation
        return installation


def placed(connection: Connection[Any], ledgers: Sequence[str]) -> dict[str, str]:
    """Return the installations that home's map gives these ledgers to."""
    return dict(_SQL["placed"].rows(connection, {"ledgers": list(ledgers)}))


def named(connection: Connection[Any]) -> set[str]:
    """Return the names that the map, home's, gives ledgers to."""
    return {name for (name,) in _SQL["named"].rows(connection)}


def unnamed(connection: Connection[Any], names: Sequence[str]) -> dict[str, str]:
    """Return the ledgers that the map, home's, gives to installations of other names than these, each with its name."""
    return dict(_SQL["unnamed"].rows(connection, {"names": list(names)}))


def is_kept(connection: Connection[Any]) -> bool:
    """Tell whether an installation keeps the map of a placement: then it is home."""
    return bool(_SQL["is_kept"].only(connection)[0])


def held(connection: Connection[Any]) -> Sequence[str]:
    """Return the ledgers that an installation holds, by its own journal."""
    return [ledger for (ledger,) in _SQL["held"].rows(connection)]


def arrived(connection: Connection[Any]) -> Sequence[str]:
    """Return the ledgers that an installation holds because they moved there, by its own journal."""
    return [ledger for (ledger,) in _SQL["arrived"].rows(connection)]


def take(home: Connection[Any], installation: str, ledgers: Sequence[str]) -> None:
    """Record in home's map that ledgers have moved to an installation, from whichever the map gives them to.

    The installation's journal outweighs the map, whose change may have been cut off.
    """
    _SQL["take"].run(home, {"installation": installation, "ledgers": list(ledgers)})


def enter(home: Connection[Any], installation: str, ledgers: Sequence[str]) -> None:
    """Enter the ledgers that an installation holds into home's map.

    Raises `LedgersConflict` if the map gives one of them to another installation. Then none is entered.
    """
    of = {"installation": installation, "ledgers": list(ledgers)}
    with home.transaction():
        _SQL["enter"].run(home, of)
        if others := _SQL["elsewhere"].rows(home, of):
            raise LedgersConflict(installation, others)
