"""What schemathesis is told of the contract beyond the OpenAPI document; `schemathesis.toml` names this module."""

from itertools import count
from typing import Any

import schemathesis
from schemathesis import Case, HookContext, Response

# What generation comes back to, again and again: the example, and the simplest text there is.
COMMON_KEYS = ("order-1", "0")

_numbers = count(1)


@schemathesis.hook
def map_body(context: HookContext, body: Any) -> Any:
    """Balance most transactions of two entries: chance hardly ever does."""
    for transaction in _transactions(body):
        match transaction.get("entries"):
            case [
                {"amount": int(amount), "direction": "debit" | "credit" as side},
                {"amount": int()} as other,
            ]:
                other.update(amount=amount, direction="credit" if side == "debit" else "debit")
    return body


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Ask under a key of its own: under a common one, all but the first request would be refused as its reuse."""
    if case.headers and case.headers.get("Idempotency-Key") in COMMON_KEYS:
        case.headers["Idempotency-Key"] = f"generated-{next(_numbers)}"
    for transaction in _transactions(case.body):
        if transaction.get("idempotency_key") in COMMON_KEYS:
            transaction["idempotency_key"] = f"generated-{next(_numbers)}"


@schemathesis.hook
def filter_failure(context: HookContext, failure: Any, case: Case[Any], response: Response) -> bool:
    """Tell whether a failure is one: 503 is the answer to who names a position that is yet to come, or a size
    that is yet to be sealed."""
    if response.status_code != 503:
        return True
    problem, asked = response.json(), case.query
    named = (str(asked.get(name, "")) for name in ("min_position", "position", "size", "from", "to"))
    positions = [int(text) for text in named if text.isdecimal()]  # `from` and `to` are times elsewhere
    return not (problem["code"] == "projection_behind" and problem["position"] < max(positions, default=0))


def _transactions(body: Any) -> list[dict[str, Any]]:
    """Return what has the form of a transaction in a body, alone or in a batch."""
    several = body.get("transactions", [body]) if isinstance(body, dict) else []
    return [one for one in several if isinstance(one, dict)] if isinstance(several, list) else []
