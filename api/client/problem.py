"""A problem, and the kinds of problems (api/README.md, Problems).

Attributes that a class declares are members of the problem. They are None in refusals that older releases recorded.
"""

from collections.abc import Mapping
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
        super().__init__(f"{body.get('code') or body.get('status')}: {body.get('detail')}", key)
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
