"""Fields of forms that become arrays."""

import pytest

from api.console.actions import Field

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
    assert ROLES.value_of(form) == value


@pytest.mark.parametrize(
    ("written", "value"), [("main", ["main"]), (" main , b,", ["main", "b"]), (" , ", None), ("", None)]
)
def test_what_stands_between_commas_is_in_the_list(written: str, value: list[str] | None) -> None:
    assert LEDGERS.value_of({"ledgers": written}) == value


def test_a_whole_number_may_be_zero() -> None:
    assert Field("overlap_seconds", "Overlap", "whole").value_of({"overlap_seconds": "0"}) == 0
