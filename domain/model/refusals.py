"""The details of refusals, in words and in members: the entry, the account, the asset, the amounts.

Amounts are whole minor units. An amount outside ±(2^53−1), which only a difference of amounts can be, is left out of
the members and stated in words only. `pointer` is a JSON pointer into the request, or into the item of a batch.
`/entries/N` is an entry of the transaction: of the request's own entries, or, if the request names a transaction and
gives no entries, of the entries that the rejected transaction shows.

A refusal names only what exists or was found to be well-formed. No other input is echoed.
"""

from collections.abc import Sequence
from re import IGNORECASE, compile
from typing import TYPE_CHECKING, Any

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
    RuleRefusal,
    TransactionNotFound,
    UnbalancedTransaction,
    VersionMismatch,
)
from domain.model.idempotency import is_key
from domain.model.money import MAX_AMOUNT, Direction
from domain.model.streams import is_address, is_ledger_name, ledger_of, ledger_stream, name_of

if TYPE_CHECKING:
    from domain.model.accounts import Account
    from domain.model.payouts.payout import Payout
    from domain.model.transactions import Transaction

_ID = compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", IGNORECASE)

Pointer = str | None
"""The place in the request that the refusal is about, or None if it is about no part of it."""


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


def ledger_exists(name: str) -> LedgerExists:
    """Return the refusal to open a ledger that exists with other metadata."""
    return LedgerExists(f"The ledger {name} exists with other metadata.", ledger=name, differs=["metadata"])


def account_exists(account: "Account", differs: Sequence[str], pointer: Pointer = None) -> AccountExists:
    """Return the refusal to open an account that exists. `differs` are the names of the attributes that differ."""
    words = (
        f"The account {account.address} was opened with other attributes: {', '.join(differs)}"
        f" {'differs' if len(differs) == 1 else 'differ'}."
    )
    return AccountExists(words, **_about(account, pointer), differs=list(differs))


def asset_scale_conflict(asset: str, code: str, scale: int) -> AssetScaleConflict:
    """Return the refusal of an asset whose code is in use with another scale."""
    words = (
        f"The ledger uses {code} with the scale {scale}, as {code}/{scale}, for ever; {asset} has another."
    )
    registered = f"{code}/{scale}"
    return AssetScaleConflict(words, pointer="/asset", asset=asset, registered_asset=registered)


def version_mismatch(account: "Account") -> VersionMismatch:
    """Return the refusal to change an account that is at another version than the request names."""
    words = f"The account {account.address} is at version {account.version}; If-Match names another."
    return VersionMismatch(words, **_about(account), version=account.version)


def account_not_empty(account: "Account") -> AccountNotEmpty:
    """Return the refusal to close an account that has a balance or pending amounts."""
    debits, credits = account.pending_debits, account.pending_credits
    words = (
        f"The account {account.address} has a balance of {account.balance}; {debits} of debits and {credits} of"
        f" credits are pending on it (minor units of {account.asset}). All of them must be 0 for it to be closed."
    )
    pending = {"debits": debits, "credits": credits}
    return AccountNotEmpty(words, **_about(account), balance=account.balance, pending=pending)


def not_open(account: "Account", pointer: Pointer = None) -> AccountClosed | AccountFrozen:
    """Return the refusal of a request that a closed or frozen account cannot take part in."""
    about = _about(account, pointer)
    if account.status == "closed":
        return AccountClosed(f"The account {account.address} is closed, for ever.", **about)
    words = f"The account {account.address} is frozen: until it is unfrozen it takes part in voids and expiries only."
    return AccountFrozen(words, **about)


# The amounts of an account.


def insufficient_funds(account: "Account", requested: int, pointer: Pointer) -> InsufficientFunds:
    """Return the refusal to lower `available` by `requested`: the net of a posting, the whole outflow of a hold."""
    minimum = account.min_balance
    assert minimum is not None
    shortfall = requested - (account.available - minimum)
    words = (
        f"The account {account.address} has {account.available} available and a min_balance of {minimum}; the"
        f" transaction asks for {requested}, which is {shortfall} too much (minor units of {account.asset})."
    )
    amounts = _exact(
        available=account.available, min_balance=minimum, requested=requested, shortfall=shortfall
    )
    return InsufficientFunds(words, **_about(account, pointer), **amounts)


def balance_limit_exceeded(account: "Account", requested: int, pointer: Pointer) -> BalanceLimitExceeded:
    """Return the refusal to raise the balance by `requested`: the net of a posting, the whole inflow of a hold."""
    maximum, pending = account.max_balance, account.pending_inflow
    assert maximum is not None
    excess = account.balance + pending + requested - maximum
    words = (
        f"The account {account.address} has a balance of {account.balance}, {pending} pending in favour of it, and a"
        f" max_balance of {maximum}; the transaction adds {requested}, which is {excess} too much (minor units of"
        f" {account.asset})."
    )
    amounts = _exact(
        balance=account.balance,
        pending_inflow=pending,
        max_balance=maximum,
        requested=requested,
        excess=excess,
    )
    return BalanceLimitExceeded(words, **_about(account, pointer), **amounts)


def amount_overflow(
    account: "Account", direction: Direction, requested: int, pointer: Pointer
) -> AmountOverflow:
    """Return the refusal to add `requested` to the debits or credits of an account, posted and pending."""
    if direction == "debit":
        total = account.posted_debits + account.pending_debits
    else:
        total = account.posted_credits + account.pending_credits
    excess = total + requested - MAX_AMOUNT
    words = (
        f"The {direction}s of the account {account.address} come to {total}, posted and pending, and may come to"
        f" {MAX_AMOUNT}; the transaction adds {requested}, which is {excess} too much (minor units of {account.asset})."
    )
    amounts = _exact(total=total, max_total=MAX_AMOUNT, requested=requested, excess=excess)
    return AmountOverflow(words, **_about(account, pointer), direction=direction, **amounts)


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


def hold_expired(hold: "Transaction") -> HoldExpired:
    """Return the refusal to settle or void a hold that has expired."""
    words = f"The hold {hold.id} expired at {hold.expires_at}: it can be neither settled nor voided."
    return HoldExpired(words, hold_id=hold.id, expires_at=hold.expires_at)


def expired_before_it_was_made(expires_at: str) -> HoldExpired:
    """Return the refusal to make an accepted hold whose `expires_at` passed before the request was carried out."""
    words = f"The hold was to expire at {expires_at}, before the request was carried out: it was not made."
    return HoldExpired(words, pointer="/expires_at", expires_at=expires_at)


def hold_not_pending(named: "Transaction") -> HoldNotPending:
    """Return the refusal to settle or void a transaction that is not a pending hold."""
    ended_by = named.related.settled_by or named.related.voided_by
    if named.kind != "hold":
        words = f"The transaction {named.id} is no hold, but a {named.kind}, {named.status}."
    elif ended_by:
        words = f"The hold {named.id} was {named.status} before, by the transaction {ended_by}."
    else:
        words = f"The hold {named.id} is {named.status}, and so holds nothing."
    by = {"ended_by": ended_by} if ended_by else {}
    return HoldNotPending(words, hold_id=named.id, hold_status=named.status, **by)


def hold_reserved(hold_id: str) -> HoldReserved:
    """Return the refusal to end the hold of a payout. Both have the same id."""
    words = f"The hold {hold_id} is that of the payout {hold_id}, which alone settles or voids it."
    return HoldReserved(words, hold_id=hold_id, payout_id=hold_id)


def not_reversible(named: "Transaction") -> NotReversible:
    """Return the refusal to reverse a transaction that has posted nothing, or has nothing left to reverse."""
    if named.status == "rejected":
        words = f"The {named.kind} {named.id} was rejected: it posted nothing that could be reversed."
    elif named.kind in ("posting", "settlement"):
        words = f"The {named.kind} {named.id} was reversed before, all of it."
    else:
        words = (
            f"The transaction {named.id} is a {named.kind}: only postings and settlements can be reversed."
        )
    return NotReversible(words, original_id=named.id, original_kind=named.kind, original_status=named.status)


def amount_exceeds_hold(
    account: "Account", held: int, requested: int, hold_id: str, pointer: Pointer
) -> AmountExceedsHold:
    """Return the refusal to settle more for an account and direction than the hold holds."""
    words = f"The hold {hold_id} holds {held} for the account {account.address}; {requested} is asked for."
    words += f" That is {requested - held} too much (minor units of {account.asset})."
    amounts = _exact(held=held, requested=requested)
    return AmountExceedsHold(words, **_about(account, pointer), hold_id=hold_id, **amounts)


def amount_exceeds_reversible(
    account: "Account", reversible: int, requested: int, original_id: str
) -> AmountExceedsReversible:
    """Return the refusal to reverse more than is left to reverse."""
    words = (
        f"Of the transaction {original_id}, {reversible} is left to reverse; {requested} is asked for. That is"
        f" {requested - reversible} too much (minor units of {account.asset})."
    )
    amounts = _exact(reversible=reversible, requested=requested)
    return AmountExceedsReversible(words, **_about(account, "/amount"), original_id=original_id, **amounts)


def payout_ended(payout: "Payout") -> PayoutEnded:
    """Return the refusal to end a payout in another way than it has ended."""
    words = f"The payout {payout.id} is {payout.state}. {PayoutEnded.explanation()}"
    return PayoutEnded(words, payout_id=payout.id, payout_state=payout.state)


def repeated(refusal: type[RuleRefusal], detail: str, details: dict[str, Any]) -> RuleRefusal:
    """Return the refusal of a request because of a transaction that it leads to. The pointer into that is left out."""
    return refusal(detail, **{name: value for name, value in details.items() if name != "pointer"})


def _about(account: "Account", pointer: Pointer = None) -> dict[str, Any]:
    return {**_pointed(pointer), "account": account.address, "asset": account.asset}


def _pointed(pointer: Pointer) -> dict[str, str]:
    return {} if pointer is None else {"pointer": pointer}


def _exact(**amounts: int) -> dict[str, int]:
    return {name: amount for name, amount in amounts.items() if abs(amount) <= MAX_AMOUNT}
