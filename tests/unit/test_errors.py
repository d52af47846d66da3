"""Refusals: every problem code of api/README.md has its class and its words."""

import inspect
from itertools import combinations

import pytest

from domain.model import errors
from domain.model.errors import (
    RULE_PRECEDENCE,
    InsufficientFunds,
    InvalidRequest,
    JournalUnavailable,
    LedgerError,
    RuleRefusal,
    first_of,
)
from projections.errors import ProjectionBehind

FAMILIES = {"LedgerError", "NotFound", "Invalid", "Conflict", "RuleRefusal", "Unavailable"}
CLASSES = [
    error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, LedgerError)
]
# `BeyondJournal` is the `invalid_request` that a copy may be wrong about: callers are told the same of both.
REFUSALS = [error for error in CLASSES if error.__name__ not in {*FAMILIES, "BeyondJournal"}]

# The rules, in the order of the table in api/README.md, Problems.
RULES_OF_THE_CONTRACT = [
    "ledger_exists",
    "account_exists",
    "asset_scale_conflict",
    "hold_expired",
    "hold_not_pending",
    "hold_reserved",
    "payout_ended",
    "not_reversible",
    "account_closed",
    "account_frozen",
    "account_not_empty",
    "amount_exceeds_hold",
    "amount_exceeds_reversible",
    "amount_overflow",
    "insufficient_funds",
    "balance_limit_exceeded",
    "batch_rejected",
]


@pytest.mark.parametrize("error", CLASSES)
def test_every_refusal_says_in_words_what_it_means(error: type[LedgerError]) -> None:
    assert "__doc__" in vars(error) and error.explanation()
    assert error.explanation().endswith(".")
    assert "\n" not in error.explanation() and "  " not in error.explanation()


@pytest.mark.parametrize("error", REFUSALS)
def test_every_refusal_has_a_code_of_its_own(error: type[LedgerError]) -> None:
    assert "code" in vars(error)
    assert error.code == "".join(f"_{c.lower()}" if c.isupper() else c for c in error.__name__)[1:]


def test_no_two_refusals_share_a_code() -> None:
    codes = [error.code for error in REFUSALS]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_family_has_no_code(family: str) -> None:
    assert not hasattr(getattr(errors, family), "code")


def test_rules_are_judged_in_the_order_of_the_contract() -> None:
    assert [rule.code for rule in RULE_PRECEDENCE] == RULES_OF_THE_CONTRACT


@pytest.mark.parametrize(("earlier", "later"), list(combinations(RULE_PRECEDENCE, 2)))
def test_of_two_refusals_the_earlier_rule_is_given(
    earlier: type[RuleRefusal], later: type[RuleRefusal]
) -> None:
    assert first_of([earlier, None, later]) is first_of([later, earlier, None]) is earlier


def test_of_no_refusals_none_is_given() -> None:
    assert first_of([]) is first_of([None, None]) is None
    assert first_of(iter([None, InsufficientFunds])) is InsufficientFunds


def test_every_rule_has_its_place() -> None:
    assert set(RULE_PRECEDENCE) == {error for error in REFUSALS if issubclass(error, RuleRefusal)}


def test_a_refusal_explains_itself_unless_told_more() -> None:
    assert InsufficientFunds().detail == InsufficientFunds.explanation() == str(InsufficientFunds())
    assert InsufficientFunds("not enough").detail == "not enough" == str(InsufficientFunds("not enough"))
    assert InsufficientFunds().position is None


def test_an_invalid_request_points_at_the_place() -> None:
    refusal = InvalidRequest("/entries/0/amount", "must be at least 1")
    assert refusal.errors == [{"pointer": "/entries/0/amount", "detail": "must be at least 1"}]
    assert refusal.detail == InvalidRequest.explanation()


def test_an_unavailable_journal_says_why() -> None:
    assert JournalUnavailable("newer_version").reason == "newer_version"
    assert JournalUnavailable("newer_version").detail == JournalUnavailable.explanation()


def test_a_projection_that_is_behind_says_where_it_is() -> None:
    behind = ProjectionBehind(5, 9, "paused")
    assert (behind.position, behind.head, behind.state) == (5, 9, "paused")
