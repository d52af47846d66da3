"""Rules for schemathesis beyond the OpenAPI document. `schemathesis.toml` names this module."""

from itertools import count
from typing import Any

import schemathesis
from schemathesis import Case, HookContext, Response

# Generation returns to these again and again: the example, and the simplest text.
COMMON_KEYS = ("order-1", "0")

_numbers = count(1)


@schemathesis.hook
def map_body(context: HookContext, body: Any) -> Any:
    """Balance most transactions of two entries, because chance hardly ever does."""
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
    """Use a new key for each request. Under a common key, every request after the first would be refused as
    key reuse.
    """
    if case.headers and case.headers.get("Idempotency-Key") in COMMON_KEYS:
        case.headers["Idempotency-Key"] = f"generated-{next(_numbers)}"
    for transaction in _transactions(case.body):
        if transaction.get("idempotency_key") in COMMON_KEYS:
            transaction["idempotency_key"] = f"generated-{next(_numbers)}"


@schemathesis.hook
def filter_failure(context: HookContext, failure: Any, case: Case[Any], response: Response) -> bool:
    """Tell whether a failure is real. 503 is a valid answer to a future position or to a size not yet sealed."""
    if response.status_code != 503:
        return True
    problem, asked = response.json(), case.query
    named = (str(asked.get(name, "")) for name in ("min_position", "position", "size", "from", "to"))
    positions = [int(text) for text in named if text.isdecimal()]  # `from` and `to` are times elsewhere
    return not (problem["code"] == "projection_behind" and problem["position"] < max(positions, default=0))


def _transactions(body: Any) -> list[dict[str, Any]]:
    """Return the members of a body that look like transactions, alone or in a batch."""
    several = body.get("transactions", [body]) if isinstance(body, dict) else []
    return [one for one in several if isinstance(one, dict)] if isinstance(several, list) else []
