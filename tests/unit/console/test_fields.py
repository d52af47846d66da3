"""Fields of forms, and the members of a body that they become."""

import pytest

from api.console.actions.fields import Field
from api.problems import MalformedRequest

ROLES = Field("roles", "Roles", "list", choices=("client", "auditor"))
LEDGERS = Field("ledgers", "Ledgers", "list")


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ({"roles.auditor": "on", "roles.client": "on"}, ["client", "auditor"]),
        ({"roles.auditor": "on", "roles.other": "on"}, ["auditor"]),
        ({"roles": "client"}, None),
    ],
)
def test_what_is_ticked_is_in_the_list(form: dict[str, str], value: list[str] | None) -> None:
    assert ROLES.members(form) == ({"roles": value} if value else {})


@pytest.mark.parametrize(
    ("written", "value"), [("main", ["main"]), (" main , b,", ["main", "b"]), (" , ", None), ("", None)]
)
def test_what_stands_between_commas_is_in_the_list(written: str, value: list[str] | None) -> None:
    assert LEDGERS.members({"ledgers": written}) == ({"ledgers": value} if value else {})


def test_a_whole_number_may_be_zero() -> None:
    field = Field("overlap_seconds", "Overlap", "whole")
    assert field.members({"overlap_seconds": "0"}) == {"overlap_seconds": 0}


@pytest.mark.parametrize(
    ("written", "value"), [("none", None), ("-5", -5), ("0", 0), ("1.5", "1.5"), ("\u0665", "\u0665")]
)
def test_a_limit_is_a_number_or_none(written: str, value: object) -> None:
    assert Field("min_balance", "Limit", "limit").members({"min_balance": written}) == {"min_balance": value}


@pytest.mark.parametrize("written", ["", "[]", "{", "null"])
def test_a_body_that_is_no_object_is_refused(written: str) -> None:
    with pytest.raises(MalformedRequest):
        Field("body", "The request", "body").members({"body": written})
