"""What the pages of a ledger's books work out from the answers of the API."""

from typing import Any

import pytest

import api.console.pages.all  # noqa: F401  (lists the actions)
from api.console.actions.action import ACTIONS, body_of
from api.console.pages.books.balances import depth_below, nodes_of, sections_of, sentence_of
from api.console.pages.books.descent import children_of, parent_of
from api.console.pages.books.listing import counted
from api.console.pages.books.truth import MEMBERS, _sentence, compared

ACCOUNT: dict[str, Any] = {
    "posted": {"debits": 0, "credits": 50},
    "pending": {"debits": 0, "credits": 0},
    "balance": 50,
    "available": 50,
    "min_balance": None,
    "max_balance": None,
    "status": "open",
    "metadata": {},
    "version": 2,
    "position": 7,
}


def test_each_member_of_an_account_is_compared() -> None:
    later = {**ACCOUNT, "posted": {"debits": 20, "credits": 50}, "balance": 30, "status": "frozen"}
    members = {member.name: member for member in compared(later, ACCOUNT)}
    assert tuple(members) == MEMBERS
    differing = {name: member.difference for name, member in members.items() if not member.is_same}
    assert differing == {"posted.debits": 20, "balance": -20, "status": None}
    assert all(member.is_same for member in compared(ACCOUNT, ACCOUNT))


def test_a_list_that_has_passed_the_last_change_is_not_said_to_lag() -> None:
    differing = compared({**ACCOUNT, "balance": 51}, ACCOUNT)
    assert "not show the account's last change yet" in _sentence(ACCOUNT, 9, 6, differing)
    assert "held behind a dead letter, or the list is wrong" in _sentence(ACCOUNT, 9, 7, differing)
    assert _sentence(ACCOUNT, 9, 9, compared(ACCOUNT, ACCOUNT)).endswith("they say the same.")


@pytest.mark.parametrize(
    ("prefix", "depth"), [("", 1), ("us", 1), ("users:", 2), ("users:al", 2), ("a:" * 10, 10)]
)
def test_a_branch_is_named_by_one_segment_more(prefix: str, depth: int) -> None:
    assert depth_below(prefix) == depth


def test_the_way_down_names_each_node() -> None:
    assert nodes_of("users:alice:") == [("users", "users:"), ("alice", "users:alice:")]
    assert nodes_of("") == []


def branch(group: str, asset: str, balance: int) -> dict[str, Any]:
    return {"group": group, "asset": asset, "balance": str(balance)}


def test_each_branch_stands_on_one_side_of_the_trial_balance() -> None:
    sections = sections_of(
        [branch("bank", "USD/2", -70), branch("x", "EUR/2", 0), branch("users", "USD/2", 70)]
    )
    assert [asset for asset, *_ in sections] == ["EUR/2", "USD/2"]
    _, lines, debit, credit = sections[1]
    assert [(line.group, line.debit, line.credit) for line in lines] == [
        ("bank", "70", ""),
        ("users", "", "70"),
    ]
    assert debit == credit == "70"


@pytest.mark.parametrize(
    ("totals", "words"),
    [
        ([], "Nothing has been posted yet."),
        ([("USD/2", "5", "5")], "The books balance now"),
        ([("USD/2", "5", "5"), ("EUR/2", "5", "6")], "The books do not balance in EUR/2 now."),
    ],
)
def test_the_books_are_said_to_balance_only_if_they_do(
    totals: list[tuple[str, str, str]], words: str
) -> None:
    rows = [dict(zip(("asset", "debits", "credits"), row, strict=True)) for row in totals]
    assert sentence_of(rows, "now").startswith(words)


def test_a_transaction_has_one_parent_and_many_children() -> None:
    nobody = dict.fromkeys(("settles", "voids", "reverses", "settled_by", "voided_by"))
    hold: dict[str, Any] = {"related": {**nobody, "settled_by": "s", "reversed_by": []}}
    settlement = {"related": {**nobody, "settles": "h", "reversed_by": ["r1", "r2"]}}
    assert (parent_of(hold), children_of(hold)) == (None, ["s"])
    assert (parent_of(settlement), children_of(settlement)) == ("h", ["r1", "r2"])


def test_a_page_does_not_claim_to_list_everything() -> None:
    assert counted(1, "account", is_all=True) == "1 account"
    assert counted(50, "account", is_all=False) == "50 accounts, and there are more"


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ({"min_balance": "-500", "max_balance": "none"}, {"min_balance": -500, "max_balance": None}),
        ({"min_balance": " ", "metadata": ""}, {}),
        ({"metadata": '{"customer": "42"}'}, {"metadata": {"customer": "42"}}),
        ({"min_balance": "5.0", "metadata": "{"}, {"min_balance": "5.0", "metadata": "{"}),
        ({"min_balance": "9" * 5000}, {"min_balance": "9" * 5000}),
        ({"metadata": "[" * 100_000}, {"metadata": "[" * 100_000}),
    ],
)
def test_a_form_of_limits_becomes_a_request(form: dict[str, str], body: dict[str, Any]) -> None:
    assert body_of(ACTIONS["change-account"], form) == body
