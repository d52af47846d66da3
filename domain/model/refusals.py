"""The details of refusals, in words and in members: the entry, the account, the asset, the amounts.

Amounts are whole minor units. An amount outside ±(2^53−1), which only a difference of amounts can be, is left out of
the members and stated in words only. `pointer` is a JSON pointer into the request, or into the item of a batch.
`/entries/N` is an entry of the transaction: of the request's own entries, or, if the request names a transaction and
gives no entries, of the entries that the rejected transaction shows.

A refusal names only what exists or was found to be well-formed. No other input is echoed. Every function takes plain
values, so that every noun can import this module.
"""

from collections.abc import Sequence
from re import IGNORECASE, compile
from typing import Any, NamedTuple

from domain.model.errors import (
    AccountClosed,
    AccountExists,
    AccountFrozen,
    AccountNotEmpty,
    AccountNotFound,
    AmountExceedsHold,
    AmountExceedsReversible,
    AmountOverflow,
    AssetScaleConflict,
    BalanceLimitExceeded,
    HoldExpired,
    HoldNotPending,
    HoldReserved,
    InsufficientFunds,
    LedgerExists,
    LedgerNotFound,
    NotReversible,
    OperationUnknown,
    PayoutEnded,
    PayoutNotFound,
    TransactionNotFound,
    UnbalancedTransaction,
    VersionMismatch,
)
from domain.model.idempotency import is_key
from domain.model.money import MAX_AMOUNT, Direction
from domain.model.streams import is_address, is_ledger_name, ledger_of, ledger_stream, name_of

_ID = compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", IGNORECASE)

Pointer = str | None
"""The place in the request that the refusal is about, or None if it is about no part of it."""


class AboutAccount(NamedTuple):
    """The account that a refusal is about, the account's asset, and the place in the request that names it."""

    address: str
    asset: str
    pointer: Pointer = None


# Names of things that do not exist.


def ledger_not_found(name: str) -> LedgerNotFound:
    """Return the refusal of a request that names an unknown ledger."""
    if not is_ledger_name(name):
        return LedgerNotFound()
    return LedgerNotFound(f"There is no ledger {name}.", ledger=name)


def account_not_found(ledger: str, address: str, pointer: Pointer = None) -> AccountNotFound:
    """Return the refusal of a request that names an unknown account."""
    if not is_address(address):
        return AccountNotFound()
    words = f"There is no account {address} in the ledger {ledger}."
    return AccountNotFound(words, **_pointed(pointer), account=address)


def stream_not_found(stream: str) -> LedgerNotFound | AccountNotFound:
    """Return the refusal of a request that names an unknown ledger or account, given the stream that it would have."""
    ledger = ledger_of(stream)
    if stream == ledger_stream(ledger):
        return ledger_not_found(ledger)
    return account_not_found(ledger, name_of(stream))


def transaction_not_found(id: str) -> TransactionNotFound:
    """Return the refusal of a request that names an unknown transaction."""
    if not _ID.fullmatch(id):
        return TransactionNotFound()
    return TransactionNotFound(f"There is no transaction {id} in the ledger.", transaction_id=id)


def payout_not_found(id: str) -> PayoutNotFound:
    """Return the refusal of a request that names an unknown payout."""
    if not _ID.fullmatch(id):
        return PayoutNotFound()
    return PayoutNotFound(f"There is no payout {id} in the ledger.", payout_id=id)


def operation_unknown(key: str) -> OperationUnknown:
    """Return the refusal of a question about an unknown idempotency key."""
    return OperationUnknown(None, idempotency_key=key) if is_key(key) else OperationUnknown()


# Ledgers and accounts.


def ledger_exists(name: str, installation: str | None = None) -> LedgerExists:
    """Return the refusal to open a ledger that exists with other metadata, or in the installation that is named."""
    if installation is None:
        return LedgerExists(
            f"The ledger {name} exists with other metadata.", ledger=name, differs=["metadata"]
        )
    words = f"The ledger {name} belongs to the installation {installation}."
    return LedgerExists(words, ledger=name, differs=["installation"], installation=installation)


def account_exists(account: AboutAccount, differs: Sequence[str]) -> AccountExists:
    """Return the refusal to open an account that exists. `differs` are the names of the attributes that differ."""
    words = (
        f"The account {account.address} was opened with other attributes: {', '.join(differs)}"
        f" {'differs' if len(differs) == 1 else 'differ'}."
    )
    return AccountExists(words, **_about(account), differs=list(differs))


def asset_scale_conflict(asset: str, code: str, scale: int) -> AssetScaleConflict:
    """Return the refusal of an asset whose code is in use with another scale."""
    words = (
        f"The ledger uses {code} with the scale {scale}, as {code}/{scale}, for ever; {asset} has another."
    )
    registered = f"{code}/{scale}"
    return AssetScaleConflict(words, pointer="/asset", asset=asset, registered_asset=registered)


def version_mismatch(account: AboutAccount, version: int) -> VersionMismatch:
    """Return the refusal to change an account that is at another version than the request names."""
    words = f"The account {account.address} is at version {version}; If-Match names another."
    return VersionMismatch(words, **_about(account), version=version)


def account_not_empty(account: AboutAccount, balance: int, debits: int, credits: int) -> AccountNotEmpty:
    """Return the refusal to close an account that has a balance, or on which debits or credits are pending."""
    words = (
        f"The account {account.address} has a balance of {balance}; {debits} of debits and {credits} of"
        f" credits are pending on it (minor units of {account.asset}). All of them must be 0 for it to be closed."
    )
    pending = {"debits": debits, "credits": credits}
    return AccountNotEmpty(words, **_about(account), balance=balance, pending=pending)


def account_closed(account: AboutAccount) -> AccountClosed:
    """Return the refusal of a request that a closed account cannot take part in."""
    return AccountClosed(f"The account {account.address} is closed, for ever.", **_about(account))


def account_frozen(account: AboutAccount) -> AccountFrozen:
    """Return the refusal of a request that a frozen account cannot take part in."""
    words = f"The account {account.address} is frozen: until it is unfrozen it takes part in voids and expiries only."
    return AccountFrozen(words, **_about(account))


# The amounts of an account.


def insufficient_funds(
    account: AboutAccount, *, available: int, min_balance: int, requested: int
) -> InsufficientFunds:
    """Return the refusal to lower `available` by `requested`: the net of a posting, the whole outflow of a hold."""
    shortfall = requested - (available - min_balance)
    words = (
        f"The account {account.address} has {available} available and a min_balance of {min_balance}; the"
        f" transaction asks for {requested}, which is {shortfall} too much (minor units of {account.asset})."
    )
    amounts = _exact(available=available, min_balance=min_balance, requested=requested, shortfall=shortfall)
    return InsufficientFunds(words, **_about(account), **amounts)


def balance_limit_exceeded(
    account: AboutAccount, *, balance: int, pending_inflow: int, max_balance: int, requested: int
) -> BalanceLimitExceeded:
    """Return the refusal to raise the balance by `requested`: the net of a posting, the whole inflow of a hold."""
    excess = balance + pending_inflow + requested - max_balance
    words = (
        f"The account {account.address} has a balance of {balance}, {pending_inflow} pending in favour of it, and a"
        f" max_balance of {max_balance}; the transaction adds {requested}, which is {excess} too much (minor units of"
        f" {account.asset})."
    )
    amounts = _exact(
        balance=balance,
        pending_inflow=pending_inflow,
        max_balance=max_balance,
        requested=requested,
        excess=excess,
    )
    return BalanceLimitExceeded(words, **_about(account), **amounts)


def amount_overflow(
    account: AboutAccount, direction: Direction, *, total: int, requested: int
) -> AmountOverflow:
    """Return the refusal to add `requested` to the `total` debits or credits of an account, posted and pending."""
    excess = total + requested - MAX_AMOUNT
    words = (
        f"The {direction}s of the account {account.address} come to {total}, posted and pending, and may come to"
        f" {MAX_AMOUNT}; the transaction adds {requested}, which is {excess} too much (minor units of {account.asset})."
    )
    amounts = _exact(total=total, max_total=MAX_AMOUNT, requested=requested, excess=excess)
    return AmountOverflow(words, **_about(account), direction=direction, **amounts)


def unbalanced_transaction(sums: dict[str, tuple[int, int]]) -> UnbalancedTransaction:
    """Return the refusal of entries that do not balance, given (debits, credits) for each asset.

    The sums are strings of digits, because a sum of up to 1,000 amounts may exceed what clients read exactly.
    """
    unequal = {asset: total for asset, total in sums.items() if total[0] != total[1]}
    words = "; ".join(f"{debits} and {credits} of {asset}" for asset, (debits, credits) in unequal.items())
    return UnbalancedTransaction(
        f"Debits and credits must be equal in each asset, and are {words} (minor units).",
        imbalances=[
            {"asset": asset, "debits": str(debits), "credits": str(credits)}
            for asset, (debits, credits) in unequal.items()
        ],
    )


# Transactions that a request names.


def hold_expired(hold_id: str, expires_at: str | None) -> HoldExpired:
    """Return the refusal to settle or void a hold that has expired."""
    words = f"The hold {hold_id} expired at {expires_at}: it can be neither settled nor voided."
    return HoldExpired(words, hold_id=hold_id, expires_at=expires_at)


def expired_before_it_was_made(expires_at: str) -> HoldExpired:
    """Return the refusal to make an accepted hold whose `expires_at` passed before the request was carried out."""
    words = f"The hold was to expire at {expires_at}, before the request was carried out: it was not made."
    return HoldExpired(words, pointer="/expires_at", expires_at=expires_at)


def hold_not_pending(id: str, kind: str, status: str, ended_by: str | None) -> HoldNotPending:
    """Return the refusal to settle or void a transaction that is not a pending hold.

    `ended_by` is the transaction that settled or voided it, if one did.
    """
    if kind != "hold":
        words = f"The transaction {id} is no hold, but a {kind}, {status}."
    elif ended_by:
        words = f"The hold {id} was {status} before, by the transaction {ended_by}."
    else:
        words = f"The hold {id} is {status}, and so holds nothing."
    by = {"ended_by": ended_by} if ended_by else {}
    return HoldNotPending(words, hold_id=id, hold_status=status, **by)


def hold_reserved(hold_id: str) -> HoldReserved:
    """Return the refusal to end the hold of a payout. Both have the same id."""
    words = f"The hold {hold_id} is that of the payout {hold_id}, which alone settles or voids it."
    return HoldReserved(words, hold_id=hold_id, payout_id=hold_id)


def not_reversible(id: str, kind: str, status: str) -> NotReversible:
    """Return the refusal to reverse a transaction that has posted nothing, or has nothing left to reverse."""
    if status == "rejected":
        words = f"The {kind} {id} was rejected: it posted nothing that could be reversed."
    elif kind in ("posting", "settlement"):
        words = f"The {kind} {id} was reversed before, all of it."
    else:
        words = f"The transaction {id} is a {kind}: only postings and settlements can be reversed."
    return NotReversible(words, original_id=id, original_kind=kind, original_status=status)


def amount_exceeds_hold(
    account: AboutAccount, hold_id: str, *, held: int, requested: int
) -> AmountExceedsHold:
    """Return the refusal to settle more for an account and direction than the hold holds."""
    words = f"The hold {hold_id} holds {held} for the account {account.address}; {requested} is asked for."
    words += f" That is {requested - held} too much (minor units of {account.asset})."
    amounts = _exact(held=held, requested=requested)
    return AmountExceedsHold(words, **_about(account), hold_id=hold_id, **amounts)


def amount_exceeds_reversible(
    account: AboutAccount, original_id: str, *, reversible: int, requested: int
) -> AmountExceedsReversible:
    """Return the refusal to reverse more than is left to reverse."""
    words = (
        f"Of the transaction {original_id}, {reversible} is left to reverse; {requested} is asked for. That is"
        f" {requested - reversible} too much (minor units of {account.asset})."
    )
    amounts = _exact(reversible=reversible, requested=requested)
    return AmountExceedsReversible(words, **_about(account), original_id=original_id, **amounts)


def payout_ended(payout_id: str, state: str) -> PayoutEnded:
    """Return the refusal to end a payout in another way than it has ended."""
    words = f"The payout {payout_id} is {state}. {PayoutEnded.explanation()}"
    return PayoutEnded(words, payout_id=payout_id, payout_state=state)


def _about(account: AboutAccount) -> dict[str, Any]:
    return {**_pointed(account.pointer), "account": account.address, "asset": account.asset}


def _pointed(pointer: Pointer) -> dict[str, str]:
    return {} if pointer is None else {"pointer": pointer}


def _exact(**amounts: int) -> dict[str, int]:
    return {name: amount for name, amount in amounts.items() if abs(amount) <= MAX_AMOUNT}
