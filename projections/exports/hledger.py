"""Books for hledger: each posting asserts the balance after it, and the effective time is the secondary date."""

from collections.abc import Iterable, Iterator
from datetime import date

from domain.model.accounts import AccountOpened
from domain.model.entries import PostedEntry
from domain.model.events import Recorded
from domain.model.money import split_asset
from domain.model.streams import ledger_of, name_of
from domain.model.transactions import Posted
from projections.exports.plain_text import balance_of, change_of, decimal, printable


class Hledger:
    """Writes the books of one journal."""

    def begin(self, title: str, openings: Iterable[Recorded]) -> Iterator[str]:
        """Return the title as a comment, and the commodities. Their decimals follow from the amounts."""
        yield f"; {title}"
        codes = {split_asset(r.event.asset)[0] for r in openings if isinstance(r.event, AccountOpened)}
        yield from (f'commodity "{code}"' for code in sorted(codes))

    def opened(self, recorded: Recorded, opening: AccountOpened) -> Iterator[str]:
        """Return the directive that declares an account."""
        name = _name(ledger_of(recorded.stream), opening.normal_side, name_of(recorded.stream))
        yield f"account {name}"

    def posted(self, recorded: Recorded, posting: Posted) -> Iterator[str]:
        """Return a transaction with its id as the code."""
        recorded_on, effective_on = recorded.envelope.recorded_at[:10], posting.effective_at[:10]
        words = printable(posting.description or posting.reference).replace(";", ",").strip()
        yield f"{recorded_on}={effective_on} * ({name_of(recorded.stream)}) {words}"
        if posting.reference:
            yield f"    ; reference: {printable(posting.reference)}"
        yield from (_posting(ledger_of(recorded.stream), entry) for entry in posting.entries)

    def closed(self, recorded: Recorded) -> Iterator[str]:
        """Return nothing: hledger does not close accounts."""
        yield from ()

    def morning(self, day: date) -> Iterator[str]:
        """Return nothing: each posting asserts its balance already."""
        yield from ()


def _name(ledger: str, normal_side: str, address: str) -> str:
    return f"{'liabilities' if normal_side == 'credit' else 'assets'}:{ledger}:{address}"


def _posting(ledger: str, entry: PostedEntry) -> str:
    code, _ = split_asset(entry.asset)
    change, balance = (decimal(amount, entry.asset) for amount in (change_of(entry), balance_of(entry)))
    name = _name(ledger, entry.normal_side, entry.account)
    return f'    {name}  {change} "{code}" = {balance} "{code}"'
