"""Fields of forms that become arrays."""

import pytest

from api.console.actions import Action, Field, body_of

ROLES = Field("roles", "Roles", "list", choices=("client", "auditor"))
LEDGERS = Field("ledgers", "Ledgers", "list")
MAKE = Action("make", "Make", "Make?", "It is made.", "/v1/keys", fields=(ROLES, LEDGERS))


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ({"roles.auditor": "on", "roles.client": "on"}, {"roles": ["client", "auditor"]}),
        ({"roles.auditor": "on", "roles.other": "on"}, {"roles": ["auditor"]}),
        ({"roles": "client"}, {}),
        ({"ledgers": " main , b,"}, {"ledgers": ["main", "b"]}),
        ({"ledgers": ""}, {}),
    ],
)
def test_a_list_is_what_is_ticked_or_what_stands_between_commas(
    form: dict[str, str], body: dict[str, list[str]]
) -> None:
    assert body_of(MAKE, form) == body
