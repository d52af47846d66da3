"""The problems that are no refusals of a rule, by code, and the way from an answer to its exception."""

from collections.abc import Iterator, Mapping
from typing import Any

from . import refusals
from .problem import Malformed, Missing, NotAllowed, Problem, RuleRefusal, Unavailable

__all__ = ["BY_CODE", "problem_of", "refusals"]


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


class LedgerMoved(Missing):
    """The ledger is at another installation. A service that has it in its placement passes requests on by itself."""

    code = "ledger_moved"
    installation: str | None


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


class LedgerMoving(Unavailable):
    """The ledger is being moved to another installation, which takes seconds."""

    code = "ledger_moving"


class LedgerMissing(Unavailable):
    """The installation that is to hold the ledger does not have it. An operator must bring it back."""

    code = "ledger_missing"
    ledger: str
    installation: str


class PrimaryUnreachable(Unavailable):
    """A replica could not pass the request on to the primary. Nothing was sent."""

    code = "primary_unreachable"


class PrimaryUnanswered(Unavailable):
    """A replica passed the request on, and the primary's answer was lost. `operation` tells what became of it."""

    code = "primary_unanswered"
    operation: str | None


class ReadOnlyReplica(Problem):
    """The service reads a copy and does not answer this. `primary` is the address of the one that does."""

    code = "read_only_replica"
    primary: str | None


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


def is_problem(body: Any) -> bool:
    """Tell whether a body is a problem of the ledger, and not what something else on the way says."""
    return isinstance(body, Mapping) and isinstance(body.get("code"), str)


def problem_of(status: int, body: Any, key: str | None = None) -> Problem:
    """Return the exception for an answer. A code that is not known here becomes the class of its status.

    An answer that is not the ledger's, whatever its status, only says that the service cannot be reached now.
    """
    if not is_problem(body):
        detail = f"the service is not reached: something else answered {status}"
        return Unavailable({"status": status, "detail": detail}, key)
    by_status = _BY_STATUS.get(status, Unavailable if status >= 500 else Malformed)
    return BY_CODE.get(body["code"], by_status)({"status": status, **body}, key)
