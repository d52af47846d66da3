"""Books for Beancount: accounts that are credit-normal are liabilities, the others assets.

Names are made to be ones of Beancount: components begin with a capital, `_` becomes `-`; of two that become the same
the later gets a number. An account's `address` is kept beside it. Balances are asserted on the morning after each day
on which an account was moved, without tolerance.
"""

import re
from collections.abc import Iterator
from datetime import date

from domain.accounts import AccountOpened
from domain.addresses import ledger_of, name_of
from domain.events import Recorded
from domain.money import split_asset
from domain.transactions import Posted
from projections.plain_text import balance_of, change_of, decimal, printable

_CURRENCY = re.compile(r"[A-Z][A-Z0-9_]{0,14}[A-Z0-9]")
_WORDS = ("TRUE", "FALSE", "NULL")


class Beancount:
    """Writes the books of one journal; keeps the names of accounts, and of those moved today the balances."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()
        self._balances: dict[str, str] = {}
        self._closing: list[str] = []

    def begin(self, title: str) -> Iterator[str]:
        """Return the title, and that nothing is tolerated."""
        yield f'option "title" {_quoted(title)}'
        yield 'option "inferred_tolerance_multiplier" "0"'

    def opened(self, recorded: Recorded, opening: AccountOpened) -> Iterator[str]:
        """Return the directive that opens an account for its one currency."""
        name = self._name(recorded.stream, opening)
        yield f"{_day(recorded)} open {name} {_currency(opening.asset)}"
        yield f"  address: {_quoted(name_of(recorded.stream))}"

    def posted(self, recorded: Recorded, posting: Posted) -> Iterator[str]:
        """Return a transaction, its id beside it."""
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
        """Keep that an account was closed until the next morning: to the end of its last day it can be moved."""
        self._closing.append(self._names[ledger_of(recorded.stream), name_of(recorded.stream)])
        yield from ()

    def morning(self, day: date) -> Iterator[str]:
        """Return the balances of what was moved the day before, and close what was closed."""
        yield from (f"{day} balance {name}  {balance}" for name, balance in self._balances.items())
        yield from (f"{day} close {name}" for name in self._closing)
        self._balances.clear()
        self._closing.clear()

    def _name(self, stream: str, opening: AccountOpened) -> str:
        ledger, address = ledger_of(stream), name_of(stream)
        root = "Liabilities" if opening.normal_side == "credit" else "Assets"
        plain = ":".join([root, *map(_component, (ledger, *address.split(":")))])
        name, number = plain, 1
        while name in self._taken:
            number += 1
            name = f"{plain}-{number}"
        self._taken.add(name)
        self._names[ledger, address] = name
        return name


def _component(segment: str) -> str:
    plain = segment.replace("_", "-")
    return "X" + plain if plain.startswith("-") else plain[0].upper() + plain[1:]


def _currency(asset: str) -> str:
    """Return the code; where it is none in Beancount, one that no asset can have."""
    code, _ = split_asset(asset)
    return code if _CURRENCY.fullmatch(code) and code not in _WORDS else f"{code}.X"


def _day(recorded: Recorded) -> str:
    return recorded.envelope.recorded_at[:10]


def _quoted(text: str) -> str:
    escaped = printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
