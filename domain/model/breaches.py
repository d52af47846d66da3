"""Which entry of a transaction breaks a rule of an account, and by how much.

An account is checked against the sums of the whole transaction. The refusal points at the account's first entry on the
side that breaks the rule: the side that lowers `available` below `min_balance`, raises the balance above `max_balance`,
or takes debits or credits out of their range. For a frozen or closed account it is the first entry on either side. If
several accounts break the rule, the refusal names the account whose entry comes first.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from domain.model.accounts import Account, about
from domain.model.entries import Entry, Totals
from domain.model.errors import AccountClosed, AccountFrozen, AmountOverflow, InsufficientFunds, RuleRefusal
from domain.model.money import MAX_AMOUNT, Direction
from domain.model.refusals import (
    account_closed,
    account_frozen,
    amount_overflow,
    balance_limit_exceeded,
    insufficient_funds,
)

Judge = Callable[[Account, int, int], type[RuleRefusal] | None]
"""Returns the rule that these debits and credits of an account would break, or None."""


class Breach(NamedTuple):
    """An account that breaks a rule, the side (None for either), and the minor units requested on that side."""

    account: Account
    side: Direction | None
    requested: int


def named_refusal(
    refusal: type[RuleRefusal],
    totals: Totals,
    entries: Sequence[Entry],
    judge: Judge,
    *,
    pending: bool = False,
) -> RuleRefusal:
    """Return the refusal by a rule that `judge` found broken, with the entry, the account and the amounts.

    There is no pointer if the account has no such entry among `entries`: a settlement of other parts of a hold can be
    refused because of it.
    """
    breaches = [
        breach
        for account, debits, credits in totals.values()
        if judge(account, debits, credits) is refusal
        for breach in _breaches(refusal, account, debits, credits, pending=pending)
    ]
    places = [_first_entry(entries, breach) for breach in breaches]
    first = min(range(len(breaches)), key=places.__getitem__)
    pointer = f"/entries/{places[first]}" if places[first] < len(entries) else None
    return _named(refusal, breaches[first], pointer)


def _breaches(
    refusal: type[RuleRefusal], account: Account, debits: int, credits: int, *, pending: bool
) -> Iterator[Breach]:
    """Yield how an account breaks the rule. Both its sides can overflow at once."""
    if issubclass(refusal, AccountClosed | AccountFrozen):
        yield Breach(account, None, 0)
    elif issubclass(refusal, AmountOverflow):
        if _total(account, "debit") + debits > MAX_AMOUNT:
            yield Breach(account, "debit", debits)
        if _total(account, "credit") + credits > MAX_AMOUNT:
            yield Breach(account, "credit", credits)
    else:
        lowers = issubclass(refusal, InsufficientFunds)
        is_debit = lowers == (account.normal_side == "credit")
        asked, other = (debits, credits) if is_debit else (credits, debits)
        yield Breach(account, "debit" if is_debit else "credit", asked if pending else asked - other)


def _first_entry(entries: Sequence[Entry], breach: Breach) -> int:
    """Return the index of the account's first entry on the side of the breach, or the number of entries if none."""
    for place, entry in enumerate(entries):
        if entry.account == breach.account.address and breach.side in (None, entry.direction):
            return place
    return len(entries)


def _named(refusal: type[RuleRefusal], breach: Breach, pointer: str | None) -> RuleRefusal:
    account, side, requested = breach
    named = about(account, pointer)
    if side is None:
        return account_closed(named) if issubclass(refusal, AccountClosed) else account_frozen(named)
    if issubclass(refusal, AmountOverflow):
        return amount_overflow(named, side, total=_total(account, side), requested=requested)
    if issubclass(refusal, InsufficientFunds):
        assert account.min_balance is not None
        return insufficient_funds(
            named, available=account.available, min_balance=account.min_balance, requested=requested
        )
    assert account.max_balance is not None
    return balance_limit_exceeded(
        named,
        balance=account.balance,
        pending_inflow=account.pending_inflow,
        max_balance=account.max_balance,
        requested=requested,
    )


def _total(account: Account, side: Direction) -> int:
    """Return the debits or the credits of an account, posted and pending."""
    if side == "debit":
        return account.posted_debits + account.pending_debits
    return account.posted_credits + account.pending_credits
