"""Why the ledger refuses: one class for each problem code. The docstring of a class is the sentence a caller reads.

The families say who must act. A `RuleRefusal` of a keyed request is recorded and replayed for ever. Every other refusal
leaves nothing behind, and the idempotency key stays free (api/README.md, Problems).
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar


class LedgerError(Exception):
    """The request was refused.

    `detail` says why in words, `details` what the refusal is about: members of the problem that answers the request
    (domain/model/refusals.py). Both leave out what is not known.
    """

    code: ClassVar[str]
    position: int | None = None
    """The newest position of the journal when the request was refused, if the journal was read."""
    installation: str | None = None
    """The installation of a placement that refused, where the request does not say which is asked."""

    def __init__(self, detail: str | None = None, **details: Any) -> None:
        self.detail = detail or self.explanation()
        self.details: dict[str, Any] = details
        super().__init__(self.detail)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, also in another process, has the same attributes. It is not made anew from arguments."""
        return _again, (type(self), self.args), self.__dict__

    @classmethod
    def explanation(cls) -> str:
        """Return the general meaning of the code, in words, without anything from the request."""
        return " ".join((cls.__doc__ or "").split())

    def withheld(self) -> "LedgerError":
        """Return the refusal for callers who may not read accounts: without its details if it names an account."""
        if "account" not in self.details:
            return self
        told = type(self)()
        told.position, told.installation = self.position, self.installation
        return told


class NotFound(LedgerError):
    """What the request names does not exist."""


class LedgerNotFound(NotFound):
    """There is no ledger of this name."""

    code = "ledger_not_found"


class AccountNotFound(NotFound):
    """There is no account at this address in the ledger."""

    code = "account_not_found"


class TransactionNotFound(NotFound):
    """There is no transaction with this id in the ledger."""

    code = "transaction_not_found"


class PayoutNotFound(NotFound):
    """There is no payout with this id in the ledger."""

    code = "payout_not_found"


class OperationUnknown(NotFound):
    """No request with this idempotency key was recorded. Sending it, or sending it again, is safe."""

    code = "operation_unknown"


class Invalid(LedgerError):
    """The request can never be accepted as it is."""


class InvalidRequest(Invalid):
    """The request does not have the required shape; `errors` points at each place."""

    code = "invalid_request"

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__()
        self.errors = [{"pointer": pointer, "detail": detail}]


class BeyondJournal(InvalidRequest):
    """The request names a position beyond the newest of the journal; `errors` points at it."""

    def __init__(self, pointer: str) -> None:
        super().__init__(pointer, "is beyond the newest position of the journal")


class IdempotencyKeyReused(Invalid):
    """This idempotency key was used before with another request. Use a new key for a new request."""

    code = "idempotency_key_reused"


class UnbalancedTransaction(Invalid):
    """Debits and credits differ in at least one asset; each asset of a transaction must balance."""

    code = "unbalanced_transaction"


class VersionMismatch(LedgerError):
    """The account has changed since the version named in If-Match."""

    code = "version_mismatch"


class Conflict(LedgerError):
    """The request does not fit the state that what it names is in now."""


class RuleRefusal(LedgerError):
    """A business rule refuses the request."""


class LedgerExists(RuleRefusal):
    """A ledger of this name exists with other attributes."""

    code = "ledger_exists"


class AccountExists(RuleRefusal):
    """An account was opened at this address with other attributes."""

    code = "account_exists"


class AssetScaleConflict(RuleRefusal):
    """The asset's code is in use in this ledger with another scale; a code has one scale for ever."""

    code = "asset_scale_conflict"


class HoldExpired(RuleRefusal):
    """The hold has expired: what it held is released, and it can be neither settled nor voided."""

    code = "hold_expired"


class HoldNotPending(RuleRefusal):
    """The transaction is no hold that is pending: it was settled or voided before, or never was a hold."""

    code = "hold_not_pending"


class HoldReserved(RuleRefusal):
    """The hold is that of a payout, which alone settles or voids it, once its outcome is known."""

    code = "hold_reserved"


class PayoutEnded(RuleRefusal):
    """The payout has ended otherwise. If the provider now says something else, reconcile it: what contradicts its end
    is recorded, and can be resolved."""

    code = "payout_ended"


class NotReversible(RuleRefusal):
    """Only what a posting or a settlement has posted, and only what was not reversed before, can be reversed."""

    code = "not_reversible"


class AccountClosed(RuleRefusal):
    """An account of the request is closed."""

    code = "account_closed"


class AccountFrozen(RuleRefusal):
    """An account of the request is frozen."""

    code = "account_frozen"


class AccountNotEmpty(RuleRefusal):
    """The account has a balance, or something is pending on it, so it cannot be closed."""

    code = "account_not_empty"


class AmountExceedsHold(RuleRefusal):
    """More would be settled than the hold holds."""

    code = "amount_exceeds_hold"


class AmountExceedsReversible(RuleRefusal):
    """More would be reversed than is left to reverse."""

    code = "amount_exceeds_reversible"


class AmountOverflow(RuleRefusal):
    """A total, balance or available amount would leave the range ±(2^53−1)."""

    code = "amount_overflow"


class InsufficientFunds(RuleRefusal):
    """The transaction would lower an account's available amount to below its min_balance."""

    code = "insufficient_funds"


class BalanceLimitExceeded(RuleRefusal):
    """The transaction would raise an account's balance, with what is pending, to above its max_balance."""

    code = "balance_limit_exceeded"


class BatchRejected(RuleRefusal):
    """An item of the batch failed, so nothing of it was recorded: the keys of its items stay free."""

    code = "batch_rejected"

    def __init__(self, index: int, cause: Any) -> None:
        """`index` counts items from 0. `cause` is the item's result: an `Outcome`, or the exception that refused it."""
        super().__init__()
        self.index = index
        self.cause = cause


class Unavailable(LedgerError):
    """The service cannot answer now. Try again with the same idempotency key."""


class Overloaded(Unavailable):
    """Too many requests are waiting. Nothing of this one was recorded; try again shortly."""

    code = "overloaded"


class LedgerMoving(Unavailable):
    """The ledger is being moved to another installation. Nothing of the request was recorded; try again shortly."""

    code = "ledger_moving"


class LedgerMissing(Unavailable):
    """The installation that is to hold the ledger does not have it. Nothing of the request was recorded."""

    code = "ledger_missing"

    def __init__(self, ledger: str, installation: str) -> None:
        words = (
            f"The ledger {ledger} is placed on {installation}, whose journal does not have it: {installation} was"
            " restored to a moment before the ledger came, or the opening of the ledger was cut off. An operator must"
            " see to it before anybody opens it anew: `tallystick doctor` says what to do."
        )
        super().__init__(words, ledger=ledger, installation=installation)


class JournalUnavailable(Unavailable):
    """The journal cannot be written or read now. What became of the request is answered by its idempotency key."""

    code = "journal_unavailable"
    OF_THE_JOURNAL: ClassVar[Mapping[str, str]] = {
        "unreachable": "The database does not answer.",
        "locked": (
            "Another session of the database holds a lock that this needs: `tallystick stuck` and `tallystick doctor`"
            " say which one."
        ),
        "denied": (
            "The database denies the service what this needs, such as a right or a table: `tallystick doctor` says"
            " what, and how to give it back."
        ),
        "clock": (
            "The clocks of this server and of the database differ by more than is allowed, so nothing was recorded:"
            " `tallystick doctor` says by how much."
        ),
        "interrupted": "The process that was to record it stopped working meanwhile, and may still do so.",
        "stopping": "This server is stopping and takes no more requests.",
        "replay": (
            "This server reads a copy, which had to apply what the primary has done and ended this read twice: ask"
            " again."
        ),
    }
    """The reasons that concern every request alike, in words. Any other reason concerns what the request names."""

    def __init__(self, reason: str, detail: str | None = None) -> None:
        words = self.OF_THE_JOURNAL.get(reason)
        super().__init__(detail or (f"{self.explanation()} {words}" if words else None))
        self.reason = reason

    @property
    def is_of_the_journal(self) -> bool:
        """Whether every request would be refused for this reason, whatever it asks for."""
        return self.reason in self.OF_THE_JOURNAL


class LedgerMoved(LedgerError):
    """The ledger has moved to another installation, which alone answers for it. Send the request there."""

    code = "ledger_moved"

    def __init__(self, installation: str) -> None:
        super().__init__(installation=installation)


def _again(refusal: type[LedgerError], args: tuple[Any, ...]) -> LedgerError:
    return refusal.__new__(refusal, *args)


# The order of api/README.md, Problems: of several refusals of one request, the first in this list is given.
RULE_PRECEDENCE: tuple[type[RuleRefusal], ...] = (
    LedgerExists,
    AccountExists,
    AssetScaleConflict,
    HoldExpired,
    HoldNotPending,
    HoldReserved,
    PayoutEnded,
    NotReversible,
    AccountClosed,
    AccountFrozen,
    AccountNotEmpty,
    AmountExceedsHold,
    AmountExceedsReversible,
    AmountOverflow,
    InsufficientFunds,
    BalanceLimitExceeded,
    BatchRejected,
)


def first_of(refusals: Iterable[type[RuleRefusal] | None]) -> type[RuleRefusal] | None:
    """Return the refusal that comes first in `RULE_PRECEDENCE`, or None if there is none."""
    given = [refusal for refusal in refusals if refusal is not None]
    return min(given, key=RULE_PRECEDENCE.index) if given else None
