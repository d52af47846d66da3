"""Bridges between two ledgers: the request of the sender, and the answer of the receiver, which is always recorded
(api/README.md, Bridges)."""

from typing import Any

import pytest
from pydantic import ValidationError

from api.settings import Settings
from domain.model.accounts import AccountOpened, ChangeStatus, EntriesPosted, OpenAccount, Status
from domain.model.entries import Entry
from domain.model.errors import (
    AccountClosed,
    AccountExists,
    AccountFrozen,
    AccountNotFound,
    AmountOverflow,
    BalanceLimitExceeded,
    IdempotencyKeyReused,
    InsufficientFunds,
    InvalidRequest,
    LedgerError,
    LedgerNotFound,
    UnbalancedTransaction,
)
from domain.model.idempotency import is_key, operation_id
from domain.model.money import MAX_AMOUNT
from domain.model.payouts.bridges import bridge_account
from domain.model.payouts.payout import LONGEST_INQUIRY_SECONDS, Payout
from domain.model.payouts.requests import RequestPayout
from domain.model.streams import (
    MAX_ADDRESS_LENGTH,
    account_stream,
    is_address,
    payout_stream,
    transaction_stream,
)
from domain.model.times import later, seconds_until
from domain.model.transactions import Transaction, TransactionPosted, TransactionRejected
from projections.process_managers.providers.bridge import receipt_of
from projections.process_managers.providers.interface import Order, order_of
from projections.process_managers.providers.settings import ProviderSettings
from tests.payouts import CONTEXT, UNKNOWN_PROVIDER, a_request
from tests.simulating import SECRET
from tests.unit.given_when_then import (
    NOW,
    Given,
    Happening,
    a_ledger,
    a_posting,
    an_account,
    an_opening,
    credit,
    debit,
    given,
)
from tests.unit.payouts.history import posted, silence, submission

PAYOUT_ID = operation_id("main", "payout")
ORDER = Order(
    key=f"main.{PAYOUT_ID}.d309ea6d25cb",
    amount=40,
    asset="USD/2",
    destination={"ledger": "west", "account": "bob"},
    reference="rent",
    correlation_id="conversation-1",
    traceparent=CONTEXT.traceparent,
)
RECEIPT = receipt_of(ORDER)
ID = RECEIPT.operation.id
OF_MAIN = "bridges:main:USD"
ASKED: dict[str, Any] = {
    "fingerprint": RECEIPT.operation.fingerprint,
    "effective_at": NOW,
    "reference": "rent",
    "description": "",
    "metadata": {"from_ledger": "main", "from_payout": PAYOUT_ID},
}


def west(*more: Happening, opening: AccountOpened | None = None) -> Given:
    """The receiving ledger, with Bob's account."""
    return given(
        *a_ledger("USD/2", "EUR/2", name="west"), an_account("bob", opening or an_opening(), "west"), *more
    )


def with_status(status: Status, account: str = "bob") -> Given:
    history = west(an_account(OF_MAIN, an_opening(normal_side="debit"), "west"))
    history.when(ChangeStatus(CONTEXT, "west", account, status))
    return history


class TestReceiving:
    def test_the_account_is_credited_and_that_of_the_sender_opened_and_debited(self) -> None:
        history = west()
        answer = history.when(RECEIPT)
        bob, of_main = account_stream("west", "bob"), account_stream("west", OF_MAIN)
        answer.then(
            (of_main, an_opening(normal_side="debit")),
            (of_main, EntriesPosted(transaction_id=ID, debits=40, credits=0)),
            (bob, EntriesPosted(transaction_id=ID, debits=0, credits=40)),
            (
                transaction_stream("west", ID),
                TransactionPosted(
                    entries=(
                        posted(OF_MAIN, "debit", "debit", 40, 40),
                        posted("bob", "credit", "credit", 40, 0),
                    ),
                    **ASKED,
                ),
            ),
        )
        made: Transaction = answer.state
        assert (made.correlation_id, made.actor) == (ORDER.correlation_id, "bridge:main")
        assert made.idempotency_key == f"bridge/{ORDER.key}" and not is_key(made.idempotency_key)

    def test_the_sender_s_account_is_opened_once(self) -> None:
        history = west()
        history.when(RECEIPT)
        another = receipt_of(ORDER._replace(key=ORDER.key.replace(PAYOUT_ID, operation_id("main", "other"))))
        assert not any(isinstance(event, AccountOpened) for _, event in history.when(another).events)
        assert history.account(OF_MAIN, "west").balance == 80

    def test_submitted_again_it_is_answered_as_before(self) -> None:
        history = west()
        first = history.when(RECEIPT).state
        again = history.when(RECEIPT, later(NOW, 86_400)).then_nothing()
        assert (again.state, again.outcome.replayed) == (first, True)

    @pytest.mark.parametrize(
        ("history", "account", "asset", "error"),
        [
            (west(), "carol", "USD/2", AccountNotFound),
            (west(), "bob", "EUR/2", UnbalancedTransaction),
            (west(), "bob", "USD/3", UnbalancedTransaction),
            (west(), "bob", "GBP/2", UnbalancedTransaction),
            (west(an_account(OF_MAIN, ledger="west")), "bob", "USD/2", AccountExists),
            (with_status("frozen"), "bob", "USD/2", AccountFrozen),
            (with_status("closed"), "bob", "USD/2", AccountClosed),
            (with_status("frozen", OF_MAIN), "bob", "USD/2", AccountFrozen),
            (west(opening=an_opening(max_balance=39)), "bob", "USD/2", BalanceLimitExceeded),
            (west(opening=an_opening(normal_side="debit", min_balance=0)), "bob", "USD/2", InsufficientFunds),
            (
                west().but(account_stream("west", "bob"), posted_credits=MAX_AMOUNT),
                "bob",
                "USD/2",
                AmountOverflow,
            ),
        ],
    )
    def test_every_refusal_is_recorded_so_that_a_delayed_submission_moves_nothing(
        self, history: Given, account: str, asset: str, error: type[LedgerError]
    ) -> None:
        order = ORDER._replace(asset=asset, destination={"ledger": "west", "account": account})
        command = receipt_of(order)
        answer = history.when(command)
        (stream, event), *others = answer.events
        assert stream == transaction_stream("west", ID) and not others
        assert isinstance(event, TransactionRejected)
        assert event.code == error.code and event.detail != error.explanation() and event.details
        of_main = bridge_account("main", asset)
        assert event.entries == (debit(of_main, 40), credit(account, 40))
        mended = history.when(OpenAccount(CONTEXT, "west", "carol", an_opening()))
        assert mended.refusal is None
        again = history.when(command, later(NOW, 60)).then_nothing()
        assert again.outcome.replayed and again.state.rejection.code == error.code

    def test_another_transfer_under_the_same_key_is_told_from_it(self) -> None:
        history = west(an_account("carol", ledger="west"))
        history.when(RECEIPT)
        others = (
            ORDER._replace(amount=41),
            ORDER._replace(asset="USD/3"),
            ORDER._replace(destination={"ledger": "west", "account": "carol"}),
        )
        for other in others:
            history.when(receipt_of(other)).then_refused(IdempotencyKeyReused)

    def test_a_ledger_that_is_not_there_records_nothing(self) -> None:
        given().when(RECEIPT).then_refused(LedgerNotFound)


def a_bridge(account: str = "alice", **more: Any) -> RequestPayout:
    return a_request(account=account, provider="bridge", destination=dict(ORDER.destination), **more)


def main(*more: Happening) -> Given:
    """The sending ledger: Alice has 100, and the vault holds them."""
    history = given(
        *a_ledger("USD/2"),
        an_account("alice", an_opening(min_balance=0)),
        an_account("vault", an_opening(normal_side="debit")),
        *more,
    )
    history.when(a_posting(debit("vault", 100), credit("alice", 100), key="deposit"))
    return history


def made(history: Given) -> Payout:
    state = history.journal.states[payout_stream("main", PAYOUT_ID)]
    assert isinstance(state, Payout)
    return state


class TestSending:
    def test_the_amount_is_held_for_the_other_ledger(self) -> None:
        history = main()
        history.when(a_bridge())
        to_west = history.account("bridges:west:USD")
        assert (to_west.normal_side, to_west.pending_credits, to_west.balance) == ("debit", 40, 0)
        assert order_of(made(history))._replace(reference="rent") == ORDER

    def test_an_account_of_either_side_can_be_sent_from(self) -> None:
        """A payout only debits what is owed to others. A bridge moves assets too."""
        history = main()
        assert history.when(a_bridge("vault")).state.state == "accepted"
        assert history.account("vault").pending_debits == 40

    def test_no_bridge_takes_from_what_bridges_keep(self) -> None:
        history = main(an_account("bridges:north:USD", an_opening(normal_side="debit")))
        refusal = history.when(a_bridge("bridges:north:USD")).then_refused(InvalidRequest)
        assert isinstance(refusal, InvalidRequest) and refusal.errors[0]["pointer"] == "/account"

    def test_a_request_that_was_answered_is_answered_again_though_the_other_ledger_is_away(self) -> None:
        history = main()
        history.when(a_bridge(objection=UNKNOWN_PROVIDER)).then_refused(InvalidRequest)
        first = history.when(a_bridge()).state
        assert history.when(a_bridge(objection=UNKNOWN_PROVIDER)).state == first

    def test_the_other_ledger_is_asked_as_any_provider_is(self) -> None:
        history, now, waits = main(), NOW, []
        history.when(a_bridge())
        history.when(submission(history))
        for _ in range(12):
            history.when(silence(history), now)
            due_at = made(history).due_at
            assert due_at is not None
            waits.append(seconds_until(now, due_at))
            now = due_at
        assert max(waits) == waits[-1] == LONGEST_INQUIRY_SECONDS

    def test_the_longest_names_make_an_address(self) -> None:
        address = bridge_account("l" * 63, "A" * 16 + "/18")
        assert is_address(address) and len(address) <= MAX_ADDRESS_LENGTH


def test_entries_of_both_sides_cancel_out() -> None:
    """What one ledger credits to its account for the other, the other debits to its account for the first."""
    history = main()
    history.when(a_bridge())
    hold: Transaction = history.transaction("payout")
    received = west().when(RECEIPT).state
    assert hold.entries[1] == Entry(account="bridges:west:USD", direction="credit", amount=40)
    assert received.entries[0].amount == 40 and received.entries[0].direction == "debit"


def test_no_provider_can_be_configured_under_the_name_of_bridges() -> None:
    with pytest.raises(ValidationError, match="give yours another name"):
        Settings(
            providers={"bridge": ProviderSettings.model_validate({"url": "http://bank", "secret": SECRET})}
        )
