"""The ledger's problems as one tree of exceptions, by code (api/README.md, Problems).

Attributes that a class declares are members of the problem. They are None in refusals that older releases recorded.
"""

from collections.abc import Iterator, Mapping
from inspect import get_annotations
from typing import Any

from .errors import TallystickError
from .money import Money


class Problem(TallystickError):
    """The service answered, and did not do it."""

    code = ""
    title: str
    status: int
    detail: str
    correlation_id: str | None
    pointer: str | None
    account: str | None
    asset: str | None
    index: int | None
    transaction_id: str | None
    errors: list[dict[str, str]] | None

    def __init__(self, body: Mapping[str, Any], key: str | None = None) -> None:
        super().__init__(f"{body.get('code')}: {body.get('detail')}", key)
        self.body = body
        self.code = body.get("code", "")
        for declaring in type(self).__mro__:
            for name in get_annotations(declaring):
                setattr(self, name, body.get(name))

    def money(self, member: str) -> Money:
        """Return an amount of the problem, such as `shortfall`, with its asset. Raises `KeyError` if it has none."""
        return Money.of_minor_units(self.body[member], self.body["asset"])


class NotAllowed(Problem):
    """The caller may not do this."""


class Malformed(Problem):
    """The request itself is wrong. Nothing was recorded, and its key is still free."""


class Missing(Problem):
    """Something that the request names does not exist. Nothing was recorded."""


class RuleRefusal(Problem):
    """A rule of the ledger refuses it. Under a key, the refusal is recorded and final."""


class Unavailable(Problem):
    """The service cannot answer this now."""


class Unauthenticated(NotAllowed):
    """No valid key was sent."""

    code = "unauthenticated"


class Forbidden(NotAllowed):
    """The key lacks the role or the ledger."""

    code = "forbidden"


class BodyTooLarge(Malformed):
    """The request has more bytes or values than the service takes at once."""

    code = "body_too_large"


class InvalidRequest(Malformed):
    """The request has the wrong shape; `errors` says where."""

    code = "invalid_request"


class UnbalancedTransaction(Malformed):
    """Debits and credits differ in the assets of `imbalances`."""

    code = "unbalanced_transaction"
    imbalances: list[dict[str, Any]] | None


class IdempotencyKeyReused(Malformed):
    """The key belongs to another request."""

    code = "idempotency_key_reused"


class IdempotencyKeyInvalid(Malformed):
    """A key is 1 to 255 visible ASCII characters without a slash."""

    code = "idempotency_key_invalid"


class CursorMismatch(Malformed):
    """The cursor was given out for other filters."""

    code = "cursor_mismatch"


class VersionMismatch(Problem):
    """The account has changed since the version that the request names."""

    code = "version_mismatch"


class LedgerNotFound(Missing):
    """There is no such ledger."""

    code = "ledger_not_found"


class AccountNotFound(Missing):
    """There is no such account in the ledger."""

    code = "account_not_found"


class TransactionNotFound(Missing):
    """There is no such transaction in the ledger."""

    code = "transaction_not_found"


class PayoutNotFound(Missing):
    """There is no such payout in the ledger."""

    code = "payout_not_found"


class OperationUnknown(Missing):
    """Nothing is recorded under the key. Sending the request is safe."""

    code = "operation_unknown"


class LedgerExists(RuleRefusal):
    """The ledger was opened with other metadata."""

    code = "ledger_exists"


class AccountExists(RuleRefusal):
    """The account was opened with other attributes."""

    code = "account_exists"


class AssetScaleConflict(RuleRefusal):
    """The ledger uses the asset's code with another scale."""

    code = "asset_scale_conflict"


class HoldExpired(RuleRefusal):
    """The hold has expired."""

    code = "hold_expired"


class HoldNotPending(RuleRefusal):
    """The hold was settled or voided before."""

    code = "hold_not_pending"


class HoldReserved(RuleRefusal):
    """The hold belongs to a payout."""

    code = "hold_reserved"


class NotReversible(RuleRefusal):
    """Nothing of the transaction remains to be reversed."""

    code = "not_reversible"


class AccountClosed(RuleRefusal):
    """The account is closed."""

    code = "account_closed"


class AccountFrozen(RuleRefusal):
    """The account is frozen."""

    code = "account_frozen"


class AccountNotEmpty(RuleRefusal):
    """Only an account with no balance and nothing pending can be closed."""

    code = "account_not_empty"


class AmountExceedsHold(RuleRefusal):
    """More is asked for than is held."""

    code = "amount_exceeds_hold"
    held: int | None
    requested: int | None


class AmountExceedsReversible(RuleRefusal):
    """More is asked for than remains to be reversed."""

    code = "amount_exceeds_reversible"
    reversible: int | None
    requested: int | None


class AmountOverflow(RuleRefusal):
    """The account's totals cannot grow by that much."""

    code = "amount_overflow"


class InsufficientFunds(RuleRefusal):
    """The account would fall below its `min_balance`, by `shortfall`."""

    code = "insufficient_funds"
    available: int | None
    min_balance: int | None
    requested: int | None
    shortfall: int | None


class BalanceLimitExceeded(RuleRefusal):
    """The account would rise above its `max_balance`, by `excess`."""

    code = "balance_limit_exceeded"
    balance: int | None
    max_balance: int | None
    requested: int | None
    excess: int | None


class BatchRejected(RuleRefusal):
    """An atomic batch was not carried out: `problem` refused the item at `index`. The keys stay free."""

    code = "batch_rejected"
    problem: dict[str, Any] | None


class PayoutEnded(RuleRefusal):
    """The payout has ended otherwise."""

    code = "payout_ended"


class ProjectionBehind(Unavailable):
    """The list does not reach the position that the request names."""

    code = "projection_behind"
    position: int | None
    head: int | None
    state: str | None


class JournalUnavailable(Unavailable):
    """The journal cannot be read or written now, for `reason`."""

    code = "journal_unavailable"
    reason: str | None


class Overloaded(Unavailable):
    """The service has no room for the request now."""

    code = "overloaded"


class InternalError(Unavailable):
    """A fault of the service. Report the correlation id if it comes again."""

    code = "internal_error"


def _all(parent: type[Problem]) -> Iterator[type[Problem]]:
    yield parent
    for child in parent.__subclasses__():
        yield from _all(child)


BY_CODE: Mapping[str, type[Problem]] = {problem.code: problem for problem in _all(Problem) if problem.code}
"""The class of each code that has one. Other codes are told apart by `Problem.code`."""

_BY_STATUS = {401: NotAllowed, 403: NotAllowed, 404: Missing, 409: RuleRefusal, 412: VersionMismatch}


def problem_of(status: int, body: Any, key: str | None = None) -> Problem:
    """Return the exception for an answer. A code that is not known here becomes the class of its status."""
    if not isinstance(body, Mapping):
        body = {"detail": "the answer is not one of the ledger's"}
    known = BY_CODE.get(body.get("code", ""))
    by_status = _BY_STATUS.get(status, Unavailable if status >= 500 else Malformed)
    return (known or by_status)({"status": status, **body}, key)
