"""An example of each problem, built by the functions that build the real ones."""

from typing import Any

from api.problems import (
    PROBLEM_TYPES,
    InvalidShape,
    PrimaryUnanswered,
    ReadOnlyReplica,
    problem,
    problem_of,
)
from domain.model import refusals
from domain.model.errors import BatchRejected, IdempotencyKeyReused, JournalUnavailable, LedgerError
from domain.model.refusals import AboutAccount
from projections.errors import (
    DeadLetterNotFound,
    DeliveryNotFound,
    ProjectionBehind,
    WebhookNotFound,
    projection_not_found,
)

_TIME = "2026-11-23T20:00:00.000000Z"
_ID = "4f1d3c5e-0f4a-5b8e-8a44-2c7d1f0b9e61"
_OTHER_ID = "9d0a2b9f-54a1-5a0c-9a3f-6b1f5e1c7d42"

_ALICE = AboutAccount("users:alice:wallet", "USD/2")
_DEBITED = _ALICE._replace(pointer="/entries/0")
_CREDITED = _ALICE._replace(pointer="/entries/1")
_ASKED_FOR = _ALICE._replace(pointer="/amount")

_EXAMPLES: tuple[LedgerError, ...] = (
    refusals.ledger_not_found("main"),
    refusals.account_not_found("main", "users:bob:wallet", "/entries/1"),
    refusals.transaction_not_found(_ID),
    refusals.payout_not_found(_ID),
    refusals.operation_unknown("order-1"),
    projection_not_found("balance"),
    DeadLetterNotFound(None, dead_letter_id=_ID),
    WebhookNotFound(None, webhook_id=_ID),
    DeliveryNotFound(None, webhook_id=_ID, delivery_id="21"),
    refusals.ledger_exists("main"),
    refusals.account_exists(_ALICE, ["min_balance", "metadata"]),
    refusals.asset_scale_conflict("USD/3", "USD", 2),
    refusals.version_mismatch(_ALICE, 3),
    refusals.account_not_empty(_ALICE, 5_000, 1_000, 0),
    refusals.account_frozen(_DEBITED),
    refusals.account_closed(_DEBITED),
    refusals.insufficient_funds(_DEBITED, available=4_000, min_balance=0, requested=9_999),
    refusals.balance_limit_exceeded(
        _CREDITED, balance=5_000, pending_inflow=0, max_balance=10_000, requested=6_000
    ),
    refusals.amount_overflow(_CREDITED, "credit", total=9_007_199_254_740_000, requested=1_050),
    refusals.unbalanced_transaction({"USD/2": (1_050, 1_000), "EUR/2": (5, 5)}),
    refusals.hold_expired(_ID, _TIME),
    refusals.hold_not_pending(_ID, "hold", "settled", _OTHER_ID),
    refusals.hold_reserved(_ID),
    refusals.not_reversible(_ID, "posting", "posted"),
    refusals.amount_exceeds_hold(_ASKED_FOR, _ID, held=1_000, requested=1_050),
    refusals.amount_exceeds_reversible(_ASKED_FOR, _ID, reversible=1_000, requested=1_050),
    refusals.payout_ended(_ID, "completed"),
    InvalidShape(
        [("/entries/0/amount", "must be a whole number, written without quotes, point or exponent")]
    ),
    IdempotencyKeyReused(),
    ProjectionBehind(17, 21, "running"),
    JournalUnavailable("unreachable"),
    ReadOnlyReplica(primary="https://ledger.example.com"),
    PrimaryUnanswered("/v1/ledgers/main/operations/order-1"),
)
_BY_CODE = {example.code: example for example in _EXAMPLES}


def example_of(code: str, instance: str, correlation_id: str, *, is_keyed: bool = False) -> dict[str, Any]:
    """Return an example of the problem with a code, as an answer to a request for the path `instance`.

    `is_keyed`: the request has an idempotency key, so a rule's refusal is recorded and names its transaction.
    """
    kind = PROBLEM_TYPES[code]
    if code == BatchRejected.code:
        inner = problem_of(_BY_CODE["insufficient_funds"], instance.removesuffix("/batch"), correlation_id)
        members = {"index": 1, "problem": inner | {"index": 1}}
        return problem(code, kind.meaning, instance, correlation_id, members)
    if code not in _BY_CODE:
        return problem(code, kind.meaning, instance, correlation_id)
    shown = problem_of(_BY_CODE[code], instance, correlation_id)
    return shown | ({"transaction_id": _OTHER_ID} if is_keyed and kind.status == 409 else {})


def example_for_page(code: str) -> dict[str, Any]:
    """Return the example for the page that explains a problem."""
    keyed = PROBLEM_TYPES[code].key == "used_up"
    return example_of(code, _PATHS.get(code, _PATH), _OTHER_ID, is_keyed=keyed)


_PATH = "/v1/ledgers/main/transactions"
_PATHS = {
    "batch_rejected": f"{_PATH}/batch",
    "ledger_exists": "/v1/ledgers",
    "asset_scale_conflict": "/v1/ledgers/main/accounts",
    "account_exists": "/v1/ledgers/main/accounts",
    "account_not_empty": "/v1/ledgers/main/accounts/users:alice:wallet/close",
    "version_mismatch": "/v1/ledgers/main/accounts/users:alice:wallet",
    "transaction_not_found": f"{_PATH}/{_ID}",
    "operation_unknown": "/v1/ledgers/main/operations/order-1",
    "payout_not_found": f"/v1/ledgers/main/payouts/{_ID}",
    "payout_ended": f"/v1/ledgers/main/payouts/{_ID}/fail",
    "projection_not_found": "/v1/projections/balance",
    "projection_behind": "/v1/ledgers/main/accounts",
    "dead_letter_not_found": f"/v1/dead-letters/{_ID}",
    "webhook_not_found": f"/v1/webhooks/{_ID}",
    "delivery_not_found": f"/v1/webhooks/{_ID}/deliveries/21/retry",
    **dict.fromkeys(("hold_expired", "hold_not_pending", "hold_reserved"), f"{_PATH}/{_ID}/settle"),
    "amount_exceeds_hold": f"{_PATH}/{_ID}/settle",
    **dict.fromkeys(("not_reversible", "amount_exceeds_reversible"), f"{_PATH}/{_ID}/reverse"),
}
