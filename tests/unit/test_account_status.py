"""Freezing, unfreezing and closing, and what each status refuses (api/README.md, Accounts)."""

from typing import get_args

import pytest
from msgspec.structs import replace

from domain.model.accounts import (
    ChangeStatus,
    Closed,
    Frozen,
    Status,
    Unfrozen,
    holding_refusal,
    status_refusal,
)
from domain.model.commands import envelope_of
from domain.model.errors import (
    AccountClosed,
    AccountFrozen,
    AccountNotEmpty,
    AccountNotFound,
    LedgerNotFound,
    RuleRefusal,
    VersionMismatch,
)
from domain.model.events import Event
from domain.model.money import MAX_AMOUNT
from domain.model.streams import account_stream
from tests.unit.given_when_then import (
    CONTEXT,
    NOW,
    Given,
    a_hold,
    a_ledger,
    a_posting,
    a_settlement,
    a_void,
    an_account,
    an_opening,
    credit,
    debit,
    given,
)

ALICE = account_stream("main", "alice")
STATUSES: tuple[Status, ...] = get_args(Status)


def books(*history: tuple[str, Event]) -> Given:
    return given(*a_ledger("USD/2"), *map(an_account, ("alice", "bob")), *history)


def change(status: Status, reason: str = "", if_version: int | None = None) -> ChangeStatus:
    return ChangeStatus(CONTEXT, "main", "alice", status, reason, if_version)


FREEZE, UNFREEZE, CLOSE = change("frozen"), change("open"), change("closed")
FROZEN, CLOSED = (ALICE, Frozen(reason="why")), (ALICE, Closed(reason="why"))


class TestChanging:
    @pytest.mark.parametrize(
        ("history", "status", "event"),
        [
            ([], "frozen", Frozen),
            ([FROZEN], "open", Unfrozen),
            ([], "closed", Closed),
            ([FROZEN], "closed", Closed),
        ],
    )
    def test_it_is_recorded_with_its_reason(
        self, history: list[tuple[str, Event]], status: Status, event: type[Frozen | Unfrozen | Closed]
    ) -> None:
        answer = books(*history).when(change(status, "as agreed"))
        answer.then((ALICE, event(reason="as agreed")))
        assert answer.state.status == status
        assert answer.state.version == 2 + len(history)
        assert answer.outcome.position == answer.state.position

    @pytest.mark.parametrize(
        ("history", "status"), [([FROZEN], "frozen"), ([], "open"), ([CLOSED], "closed")]
    )
    def test_a_repetition_records_nothing(self, history: list[tuple[str, Event]], status: Status) -> None:
        answer = books(*history).when(change(status, "another reason"))
        answer.then_nothing()
        assert answer.state.status == status and answer.state.version == 1 + len(history)

    @pytest.mark.parametrize("command", [FREEZE, UNFREEZE])
    def test_a_closed_account_is_never_opened_again(self, command: ChangeStatus) -> None:
        books(CLOSED).when(command).then_refused(AccountClosed)

    def test_nothing_else_changes(self) -> None:
        history = books()
        before = history.account("alice")
        history.when(FREEZE)
        history.when(UNFREEZE)
        after = history.account("alice")
        assert after == replace(before, version=3, position=after.position)

    def test_it_needs_its_ledger_and_its_account(self) -> None:
        given().when(FREEZE).then_refused(LedgerNotFound)
        given(*a_ledger("USD/2")).when(FREEZE).then_refused(AccountNotFound)

    def test_it_needs_no_key(self) -> None:
        envelope = envelope_of(FREEZE, NOW)
        assert envelope.idempotency_key is None and envelope.causation_id == CONTEXT.correlation_id


class TestVersions:
    @pytest.mark.parametrize("status", STATUSES)
    def test_another_version_than_expected_is_refused(self, status: Status) -> None:
        for history in ([], [FROZEN], [CLOSED]):
            books(*history).when(change(status, if_version=7)).then_refused(VersionMismatch)

    def test_the_expected_one_is_accepted(self) -> None:
        assert books().when(change("frozen", if_version=1)).state.status == "frozen"

    def test_it_is_judged_after_names_and_before_rules(self) -> None:
        given(*a_ledger("USD/2")).when(change("frozen", if_version=7)).then_refused(AccountNotFound)
        history = books()
        history.when(a_posting(debit("alice", 5), credit("bob", 5)))
        history.when(change("closed", if_version=1)).then_refused(VersionMismatch)
        history.when(change("closed", if_version=2)).then_refused(AccountNotEmpty)


class TestClosing:
    @pytest.mark.parametrize("is_frozen", [False, True])
    def test_not_with_a_balance(self, is_frozen: bool) -> None:
        for entries in ((debit("alice", 1), credit("bob", 1)), (credit("alice", 1), debit("bob", 1))):
            history = books()
            history.when(a_posting(*entries))
            if is_frozen:
                history.when(FREEZE)
            history.when(CLOSE).then_refused(AccountNotEmpty)

    @pytest.mark.parametrize(
        "entries",
        [
            (debit("alice", 1), credit("bob", 1)),
            (credit("alice", 1), debit("bob", 1)),
            (debit("alice", 1), credit("alice", 1)),
        ],
    )
    def test_not_with_anything_pending(self, entries: tuple[object, ...]) -> None:
        history = books()
        history.when(a_hold(*entries))  # type: ignore[arg-type]
        history.when(CLOSE).then_refused(AccountNotEmpty)
        history.when(a_void())
        assert history.when(CLOSE).state.status == "closed"

    def test_not_where_a_balance_and_what_is_pending_make_up_for_each_other(self) -> None:
        history = books()
        history.when(a_posting(credit("alice", 5), debit("bob", 5)))
        history.when(a_hold(debit("alice", 5), credit("bob", 5)))
        assert history.account("alice").available == 0
        history.when(CLOSE).then_refused(AccountNotEmpty)
        history.when(a_settlement())
        assert history.when(CLOSE).state.status == "closed"

    def test_whatever_went_through_it(self) -> None:
        history = books()
        history.when(a_posting(credit("alice", 5), debit("bob", 5)))
        history.when(a_posting(debit("alice", 5), credit("bob", 5), key="key-2"))
        assert history.when(CLOSE).state.status == "closed"

    def test_a_closed_account_that_is_closed_again_is_not_judged(self) -> None:
        history = books(CLOSED).but(ALICE, posted_debits=5)
        history.when(CLOSE).then_nothing()


class TestWhatAStatusRefuses:
    @pytest.mark.parametrize(
        ("status", "refusal"), [("open", None), ("frozen", AccountFrozen), ("closed", AccountClosed)]
    )
    def test_all_but_an_open_account_refuses_entries(
        self, status: Status, refusal: type[RuleRefusal] | None
    ) -> None:
        account = replace(books().account("alice"), status=status)
        assert status_refusal(account) is refusal
        assert holding_refusal(account, 1, 1) is refusal

    def test_it_is_given_before_everything_else_of_the_account(self) -> None:
        opening = an_opening(min_balance=0, max_balance=0)
        history = given(*a_ledger("USD/2"), an_account("alice", opening))
        account = replace(history.account("alice"), status="frozen", posted_debits=MAX_AMOUNT)
        assert holding_refusal(account, 1, 1) is AccountFrozen

    def test_an_unfrozen_account_takes_part_again(self) -> None:
        history = books()
        history.when(FREEZE)
        history.when(a_posting(debit("alice", 5), credit("bob", 5))).then_rejected(AccountFrozen)
        history.when(UNFREEZE)
        assert history.when(a_posting(debit("alice", 5), credit("bob", 5), key="k")).state.status == "posted"
