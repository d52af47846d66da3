"""Entries: their sums, their mirror, and the totals after each."""

import pytest

from domain.model.accounts import Account
from domain.model.entries import (
    Entry,
    PostedEntry,
    as_asked,
    debited,
    entry_totals,
    mirrored,
    posted_entries,
    require_balance,
    scaled,
)
from domain.model.errors import AccountNotFound, UnbalancedTransaction
from domain.model.events import State
from domain.model.money import MAX_AMOUNT
from domain.model.streams import account_stream
from tests.unit.given_when_then import a_ledger, an_account, an_opening, credit, debit, given

STATES = given(
    *a_ledger("USD/2", "EUR/2"),
    an_account("alice"),
    an_account("bob"),
    an_account("cash", an_opening(normal_side="debit")),
    an_account("euros", an_opening(asset="EUR/2")),
    an_account("more euros", an_opening(asset="EUR/2")),
).journal.states


def totals(*entries: Entry) -> dict[str, tuple[Account, int, int]]:
    return entry_totals("main", entries, STATES.get)


def sums(*entries: Entry) -> dict[str, tuple[int, int]]:
    return {address: (debits, credits) for address, (_, debits, credits) in totals(*entries).items()}


class TestTotals:
    def test_each_account_has_the_sums_of_its_debits_and_credits(self) -> None:
        entries = (credit("bob", 1), debit("alice", 2), credit("alice", 4), debit("alice", 8))
        assert sums(*entries) == {"bob": (0, 1), "alice": (10, 4)}

    def test_they_are_in_the_order_of_first_entries(self) -> None:
        assert list(totals(credit("bob", 1), debit("alice", 2), credit("bob", 1))) == ["bob", "alice"]

    def test_they_are_exact_beyond_the_range_of_one_amount(self) -> None:
        entries = [debit("alice", MAX_AMOUNT)] * 1000
        assert sums(*entries) == {"alice": (1000 * MAX_AMOUNT, 0)}

    def test_every_account_is_there(self) -> None:
        with pytest.raises(AccountNotFound):
            totals(debit("alice", 1), credit("nobody", 1))

    def test_each_account_is_read_once(self) -> None:
        read: list[str] = []

        def reading(stream: str) -> State:
            read.append(stream)
            return STATES[stream]

        entry_totals("main", [debit("alice", 1), credit("alice", 1), debit("alice", 1)], reading)
        assert read == [account_stream("main", "alice")]


class TestBalance:
    @pytest.mark.parametrize(
        "entries",
        [
            (debit("alice", 5), credit("bob", 5)),
            (debit("alice", 5), credit("alice", 5)),
            (debit("alice", 5), credit("cash", 5)),
            (debit("alice", 5), credit("bob", 5), debit("euros", 7), credit("more euros", 7)),
        ],
    )
    def test_debits_equal_credits_in_each_asset(self, entries: tuple[Entry, ...]) -> None:
        require_balance(totals(*entries))

    @pytest.mark.parametrize(
        "entries",
        [
            (debit("alice", 5), credit("bob", 4)),
            (debit("alice", 5), credit("euros", 5)),
            (debit("alice", 5), debit("bob", 5)),
            (debit("alice", 5), credit("bob", 4), debit("euros", 4), credit("more euros", 5)),
            (debit("alice", MAX_AMOUNT), credit("bob", MAX_AMOUNT - 1)),
        ],
    )
    def test_or_they_are_refused(self, entries: tuple[Entry, ...]) -> None:
        with pytest.raises(UnbalancedTransaction):
            require_balance(totals(*entries))


class TestPosted:
    def test_each_shows_what_its_account_has_afterwards(self) -> None:
        entries = (debit("cash", 10), credit("alice", 10), credit("cash", 4), debit("alice", 4))
        posted = posted_entries(entries, totals(*entries))
        assert [(entry.balance_after, entry.debits_after) for entry in posted] == [
            (10, 10),
            (10, 0),
            (6, 10),
            (6, 4),
        ]
        assert [(entry.asset, entry.normal_side) for entry in posted[:2]] == [
            ("USD/2", "debit"),
            ("USD/2", "credit"),
        ]

    def test_without_what_posting_added_they_are_those_asked_for(self) -> None:
        entries = (debit("alice", 5), credit("bob", 5))
        posted = posted_entries(entries, totals(*entries))
        assert all(type(entry) is PostedEntry for entry in posted)
        assert as_asked(posted) == as_asked(entries) == entries


class TestParts:
    ENTRIES = (debit("alice", 5), credit("bob", 3), credit("euros", 2), debit("bob", 7))

    def test_the_debited_sum_is_that_of_all_debits(self) -> None:
        assert debited(self.ENTRIES) == 12 and debited(()) == 0

    def test_a_mirror_has_debits_for_credits_in_the_same_order(self) -> None:
        assert mirrored(self.ENTRIES) == (
            credit("alice", 5),
            debit("bob", 3),
            debit("euros", 2),
            credit("bob", 7),
        )
        assert mirrored(mirrored(self.ENTRIES)) == self.ENTRIES

    def test_scaled_entries_have_another_amount(self) -> None:
        assert scaled(self.ENTRIES[:2], 4) == (debit("alice", 4), credit("bob", 4))
        posted = posted_entries(self.ENTRIES[:2], totals(*self.ENTRIES[:2]))
        assert scaled(posted, 4) == scaled(self.ENTRIES[:2], 4)
        assert mirrored(posted) == mirrored(self.ENTRIES[:2])
