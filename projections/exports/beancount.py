"""Books for Beancount 3: credit-normal accounts are liabilities, the others are assets.

Names are changed into valid ones: components begin with a capital, and `_` becomes `-`. If two names become the same,
the later one gets a number. Beancount applies what it asserts of an account to all accounts below it, so an account
with others below it gets the name `Self` among them. The account's `address` is written beside it. Balances are
asserted without tolerance, on the morning after each day on which an account changed.
"""

import re
from collections.abc import Container, Iterable, Iterator
from datetime import date

from domain.model.accounts import AccountOpened
from domain.model.events import Recorded
from domain.model.money import split_asset
from domain.model.streams import ledger_of, name_of
from domain.model.transactions import Posted
from projections.exports.plain_text import balance_of, change_of, decimal, printable

_CURRENCY = re.compile(r"[A-Z][A-Z0-9_]{0,14}[A-Z0-9]")
_WORDS = ("TRUE", "FALSE", "NULL")


class Beancount:
    """Writes the books of one journal. It keeps the names of accounts, and the balances of those changed today."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self._balances: dict[str, str] = {}
        self._closing: list[str] = []

    def begin(self, title: str, openings: Iterable[Recorded]) -> Iterator[str]:
        """Return the title, and the option that allows no tolerance."""
        yield f'option "title" {_quoted(title)}'
        yield 'option "tolerance_multiplier" "0"'
        self._names = _names(openings)

    def opened(self, recorded: Recorded, opening: AccountOpened) -> Iterator[str]:
        """Return the directive that opens an account for its one currency."""
        name = self._names[ledger_of(recorded.stream), name_of(recorded.stream)]
        yield f"{_day(recorded)} open {name} {_currency(opening.asset)}"
        yield f"  address: {_quoted(name_of(recorded.stream))}"

    def posted(self, recorded: Recorded, posting: Posted) -> Iterator[str]:
        """Return a transaction with its id."""
        ledger = ledger_of(recorded.stream)
        yield f"{_day(recorded)} * {_quoted(posting.description or posting.reference)}"
        yield f"  id: {_quoted(name_of(recorded.stream))}"
        yield f"  reference: {_quoted(posting.reference)}"
        yield f"  effective: {_quoted(posting.effective_at)}"
        for entry in posting.entries:
            name = self._names[ledger, entry.account]
            yield f"  {name}  {decimal(change_of(entry), entry.asset)} {_currency(entry.asset)}"
            self._balances[name] = f"{decimal(balance_of(entry), entry.asset)} ~ 0 {_currency(entry.asset)}"

    def closed(self, recorded: Recorded) -> Iterator[str]:
        """Note the closing for the next morning, since the account may change until the end of its last day."""
        self._closing.append(self._names[ledger_of(recorded.stream), name_of(recorded.stream)])
        yield from ()

    def morning(self, day: date) -> Iterator[str]:
        """Return the balances of accounts changed the day before, and the closings of that day."""
        yield from (f"{day} balance {name}  {balance}" for name, balance in self._balances.items())
        yield from (f"{day} close {name}" for name in self._closing)
        self._balances.clear()
        self._closing.clear()


def _names(openings: Iterable[Recorded]) -> dict[tuple[str, str], str]:
    """Return the name of each account, by ledger and address."""
    names: dict[tuple[str, str], str] = {}
    taken: set[str] = set()
    for recorded in openings:
        assert isinstance(recorded.event, AccountOpened)
        ledger, address = ledger_of(recorded.stream), name_of(recorded.stream)
        root = "Liabilities" if recorded.event.normal_side == "credit" else "Assets"
        name = _free(":".join([root, *map(_component, (ledger, *address.split(":")))]), taken)
        names[ledger, address] = name
        taken.add(name)
    above = {
        ":".join(parts[:n]) for parts in (name.split(":") for name in taken) for n in range(1, len(parts))
    }
    reserved = taken | above
    for account, name in names.items():
        if name in above:
            names[account] = _free(f"{name}:Self", reserved)
    return names


def _free(plain: str, taken: Container[str]) -> str:
    name, number = plain, 1
    while name in taken:
        number += 1
        name = f"{plain}-{number}"
    return name


def _component(segment: str) -> str:
    plain = segment.replace("_", "-")
    return "X" + plain if plain.startswith("-") else plain[0].upper() + plain[1:]


def _currency(asset: str) -> str:
    """Return the code of an asset, or a code that no asset can have if Beancount does not allow it."""
    code, _ = split_asset(asset)
    return code if _CURRENCY.fullmatch(code) and code not in _WORDS else f"{code}.X"


def _day(recorded: Recorded) -> str:
    return recorded.envelope.recorded_at[:10]


def _quoted(text: str) -> str:
    escaped = printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
