"""What the contract says should happen, written without the ledger's code: nothing but entries and sums over them.

It keeps no running totals, no versions and no events: every question is answered from the list of all entries ever
posted. It is slow, and easy to compare with the contract line by line.
"""

from collections import Counter
from dataclasses import dataclass, field

LARGEST = 9007199254740991

# The contract's table, its row "the rules", as far as postings go.
ORDER = ("amount_overflow", "insufficient_funds", "balance_limit_exceeded")

Leg = tuple[str, str, int]
"""An entry as asked for: address, direction, amount."""


@dataclass
class Sheet:
    """What is written on an account's first page, and the limits that hold now."""

    asset: str
    side: str
    opening: tuple[object, ...]
    floor: int | None
    ceiling: int | None
    notes: dict[str, str]


@dataclass
class Posted:
    """An entry that was posted."""

    address: str
    direction: str
    amount: int


@dataclass
class Book:
    """One ledger: its accounts, all entries ever posted in it, and the answer that each key was given."""

    accounts: dict[str, Sheet] = field(default_factory=dict)
    posted: list[Posted] = field(default_factory=list)
    answers: dict[str, tuple[str, str]] = field(default_factory=dict)
    scales: dict[str, str] = field(default_factory=dict)

    def total(self, address: str, direction: str) -> int:
        """The sum of an account's entries in one direction."""
        return sum(e.amount for e in self.posted if (e.address, e.direction) == (address, direction))

    def balance(self, address: str) -> int:
        """An account's balance, seen from its normal side."""
        difference = self.total(address, "credit") - self.total(address, "debit")
        return difference if self.accounts[address].side == "credit" else -difference

    def open(self, address: str, opening: tuple[str, str, int | None, int | None, dict[str, str]]) -> str:
        """Open an account; return `opened`, `unchanged` or the code of the refusal."""
        asset, side, floor, ceiling, notes = opening
        if address in self.accounts:
            return "unchanged" if self.accounts[address].opening == opening else "account_exists"
        code, scale = asset.split("/")
        if self.scales.setdefault(code, scale) != scale:
            return "asset_scale_conflict"
        self.accounts[address] = Sheet(asset, side, opening, floor, ceiling, notes)
        return "opened"

    def change(self, address: str, **changes: object) -> str:
        """Change limits or notes; return `changed`, `unchanged` or the code of the refusal."""
        if address not in self.accounts:
            return "account_not_found"
        sheet = self.accounts[address]
        before = (sheet.floor, sheet.ceiling, sheet.notes)
        floor, ceiling, notes = (
            changes.get(name, old) for name, old in zip(("floor", "ceiling", "notes"), before, strict=True)
        )
        if isinstance(floor, int) and isinstance(ceiling, int) and floor > ceiling:
            return "invalid_request"
        sheet.floor, sheet.ceiling, sheet.notes = floor, ceiling, notes  # type: ignore[assignment]
        return "unchanged" if (floor, ceiling, notes) == before else "changed"

    def post(self, key: str, request: str, legs: list[Leg]) -> str:
        """Post a transaction; return `posted`, the code of the refusal, or for a known key what it was answered."""
        if key in self.answers:
            first_request, answer = self.answers[key]
            return answer if first_request == request else "idempotency_key_reused"
        if any(address not in self.accounts for address, _, _ in legs):
            return "account_not_found"
        if any(self._imbalance(legs).values()):
            return "unbalanced_transaction"
        broken = {rule for address, _, _ in legs for rule in self._broken(address, legs)}
        answer = next((rule for rule in ORDER if rule in broken), "posted")
        self.answers[key] = (request, answer)
        if answer == "posted":
            self.posted += [Posted(*leg) for leg in legs]
        return answer

    def _imbalance(self, legs: list[Leg]) -> Counter[str]:
        imbalance: Counter[str] = Counter()
        for address, direction, amount in legs:
            imbalance[self.accounts[address].asset] += amount if direction == "debit" else -amount
        return imbalance

    def _broken(self, address: str, legs: list[Leg]) -> set[str]:
        """Every rule that the legs would break for one account: as it would stand, against as it stands."""
        sheet = self.accounts[address]
        after = Book(self.accounts, self.posted + [Posted(*leg) for leg in legs])
        broken = set()
        if max(after.total(address, "debit"), after.total(address, "credit")) > LARGEST:
            broken.add("amount_overflow")
        was, would_be = self.balance(address), after.balance(address)
        if sheet.floor is not None and would_be < sheet.floor and would_be < was:
            broken.add("insufficient_funds")
        if sheet.ceiling is not None and would_be > sheet.ceiling and would_be > was:
            broken.add("balance_limit_exceeded")
        return broken
