"""Entries: the debits and credits of a transaction, which balance in each asset."""

from collections.abc import Sequence

from domain.model.accounts import Account
from domain.model.commands import Read
from domain.model.events import Event
from domain.model.money import Direction
from domain.model.refusals import account_not_found, unbalanced_transaction
from domain.model.streams import account_stream

MIN_ENTRIES = 2
MAX_ENTRIES = 1000


class Entry(Event):
    """One side of a transaction as it was asked for: an account, a direction, an amount in minor units."""

    account: str
    direction: Direction
    amount: int


class PostedEntry(Entry):
    """An entry as it was posted: with the account's asset and normal side, and its state afterwards.

    `debits_after` is the sum of all debits posted to the account; with the balance, that of the credits follows. It is
    null where a release that did not keep it recorded the entry.
    """

    asset: str
    normal_side: Direction
    balance_after: int
    debits_after: int | None


Totals = dict[str, tuple[Account, int, int]]
"""For each address, in the order of its first entry: the account, the sum of its debits, the sum of its credits."""


def entry_totals(ledger: str, entries: Sequence[Entry], read: Read) -> Totals:
    """Sum the entries by account; raise `AccountNotFound`, which names the entry, if one is not there."""
    totals: Totals = {}
    for entry in entries:
        known = totals.get(entry.account)
        if known is None:
            account = read(account_stream(ledger, entry.account))
            if not isinstance(account, Account):
                raise account_not_found(ledger, entry.account, f"/entries/{entries.index(entry)}")
            known = (account, 0, 0)
        account, debits, credits = known
        if entry.direction == "debit":
            totals[entry.account] = (account, debits + entry.amount, credits)
        else:
            totals[entry.account] = (account, debits, credits + entry.amount)
    return totals


def require_balance(totals: Totals) -> None:
    """Raise `UnbalancedTransaction`, which names the sums, unless debits = credits in each asset."""
    differences: dict[str, int] = {}
    for account, debits, credits in totals.values():
        differences[account.asset] = differences.get(account.asset, 0) + debits - credits
    if any(differences.values()):
        raise unbalanced_transaction(_sums_by_asset(totals))


def _sums_by_asset(totals: Totals) -> dict[str, tuple[int, int]]:
    sums: dict[str, tuple[int, int]] = {}
    for account, debits, credits in totals.values():
        known = sums.get(account.asset, (0, 0))
        sums[account.asset] = known[0] + debits, known[1] + credits
    return sums


def posted_entries(entries: Sequence[Entry], totals: Totals) -> tuple[PostedEntry, ...]:
    """Return the entries with what their account has posted after each of them."""
    after: dict[str, tuple[int, int]] = {}
    posted = []
    for entry in entries:
        address, direction, amount = entry.account, entry.direction, entry.amount
        account = totals[address][0]
        balance, debits = after.get(address) or (account.balance, account.posted_debits)
        balance += amount if direction == account.normal_side else -amount
        if direction == "debit":
            debits += amount
        after[address] = (balance, debits)
        posted.append(
            PostedEntry(
                account=address,
                direction=direction,
                amount=amount,
                asset=account.asset,
                normal_side=account.normal_side,
                balance_after=balance,
                debits_after=debits,
            )
        )
    return tuple(posted)


def debited(entries: Sequence[Entry]) -> int:
    """Return the sum of the debits, whatever their assets: what tells how much of a transaction was reversed."""
    return sum(entry.amount for entry in entries if entry.direction == "debit")


def as_asked(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the entries without what posting them added."""
    return tuple(
        Entry(account=entry.account, direction=entry.direction, amount=entry.amount) for entry in entries
    )


def mirrored(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the entries with debits for credits and credits for debits."""
    return tuple(
        Entry(
            account=entry.account,
            direction="credit" if entry.direction == "debit" else "debit",
            amount=entry.amount,
        )
        for entry in entries
    )


def scaled(entries: Sequence[Entry], amount: int) -> tuple[Entry, ...]:
    """Return the entries of a transaction that has two of them, with another amount."""
    return tuple(Entry(account=entry.account, direction=entry.direction, amount=amount) for entry in entries)
