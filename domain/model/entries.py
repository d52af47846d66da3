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
    """One side of a transaction as requested: an account, a direction, an amount in minor units."""

    account: str
    direction: Direction
    amount: int


class PostedEntry(Entry):
    """An entry as posted: with the account's asset and normal side, and the account's balance afterwards.

    `debits_after` is the sum of all debits posted to the account; the sum of the credits follows from it and the
    balance. It is null in entries recorded by a release that did not store it.
    """

    asset: str
    normal_side: Direction
    balance_after: int
    debits_after: int | None


Totals = dict[str, tuple[Account, int, int]]
"""For each address, in the order of its first entry: the account, the sum of its debits, the sum of its credits."""


def entry_totals(ledger: str, entries: Sequence[Entry], read: Read) -> Totals:
    """Sum the entries by account. Raises `AccountNotFound`, which points at the entry, if an account does not exist."""
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
    """Raise `UnbalancedTransaction`, which names the sums, unless debits equal credits in each asset."""
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
    """Return the entries, each with the balance and the debits of its account after it."""
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
    """Return the sum of the debits over all assets. It measures how much of a transaction was reversed."""
    return sum(entry.amount for entry in entries if entry.direction == "debit")


def as_asked(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the entries as requested, without the values that posting added."""
    return tuple(
        Entry(account=entry.account, direction=entry.direction, amount=entry.amount) for entry in entries
    )


def mirrored(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return the entries with debits and credits exchanged."""
    return tuple(
        Entry(
            account=entry.account,
            direction="credit" if entry.direction == "debit" else "debit",
            amount=entry.amount,
        )
        for entry in entries
    )


def scaled(entries: Sequence[Entry], amount: int) -> tuple[Entry, ...]:
    """Return the two entries of a transaction with another amount, in minor units."""
    return tuple(Entry(account=entry.account, direction=entry.direction, amount=amount) for entry in entries)
