"""Each call of the client against the real service."""

import asyncio
import logging
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from api.client import (
    Done,
    InexactAmount,
    Item,
    Ledger,
    Money,
    Policy,
    Post,
    Refused,
    Settle,
    Tallystick,
    Void,
    credit,
    debit,
    expect_done,
    id_of,
)
from api.client.keyed_requests import Reverse
from api.client.problems import (
    AccountNotFound,
    IdempotencyKeyReused,
    InvalidRequest,
    OperationUnknown,
    TransactionNotFound,
    UnbalancedTransaction,
    VersionMismatch,
)
from api.client.refusals import AccountExists, AccountNotEmpty, BatchRejected, InsufficientFunds
from tests.contract.client.scenes import play
from tests.contract.serving import KEY, Served


def test_money_moves_and_a_list_shows_it_at_once(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        for number in range(5):
            outcome = await ledger.post(debit("cash", 1050), credit("bob", 1050), reference=f"r{number}")
            assert isinstance(outcome, Done)
            assert outcome.transaction.id == id_of(name, outcome.key)
            assert outcome.transaction.entries[1] == credit("bob", 1050)
            *_, last = [entry async for entry in ledger.accounts.entries("bob")]
            assert (last.transaction_id, last.balance_after) == (outcome.transaction.id, 1050 * (number + 1))
        assert [shown.reference async for shown in ledger.transactions(reference="r3")] == ["r3"]
        assert [account.address async for account in ledger.accounts.list()] == ["alice", "bob", "cash"]
        totals = (await ledger.trial_balance()).data
        assert [(each.asset, each.debits, each.credits) for each in totals] == [("USD/2", 5250, 5250)]
        assert [row.balance async for row in ledger.balances(prefix="bob")] == [5250]
        assert (await ledger.accounts.balance("bob")).balance == 5250

    play(served.url, name, scene)


def test_the_position_is_handed_on_to_another_process(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        expect_done(await ledger.post(debit("cash", 7), credit("bob", 7)))
        async with Tallystick(served.url, KEY) as elsewhere:
            other = elsewhere.ledger(name, position=ledger.position)
            assert [entry.amount async for entry in other.accounts.entries("bob")] == [7]
            assert other.position >= ledger.position

    play(served.url, name, scene)


def test_a_refusal_says_why_and_stays(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        for _ in range(2):
            outcome = await ledger.post(debit("alice", 5), credit("bob", 5), key="k")
            assert isinstance(outcome, Refused) and outcome.is_final
            problem = outcome.problem
            assert isinstance(problem, InsufficientFunds)
            assert (problem.account, problem.pointer, problem.asset) == ("alice", "/entries/0", "USD/2")
            assert (problem.available, problem.requested, problem.shortfall) == (0, 5, 5)
            assert problem.money("shortfall") == Money("0.05", "USD/2") and problem.key == "k"
            assert outcome.transaction_id == id_of(name, "k")
            with pytest.raises(InsufficientFunds):
                expect_done(outcome)
        assert isinstance(await ledger.outcome_of("k"), Refused)

    play(served.url, name, scene)


def test_what_is_malformed_raises_and_leaves_its_key_free(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        with pytest.raises(UnbalancedTransaction) as unbalanced:
            await ledger.post(debit("cash", 5), credit("bob", 6), key="k")
        assert unbalanced.value.key == "k" and unbalanced.value.imbalances
        with pytest.raises(OperationUnknown):
            await ledger.outcome_of("k")
        expect_done(await ledger.post(debit("cash", 5), credit("bob", 5), key="k"))
        with pytest.raises(IdempotencyKeyReused):
            await ledger.post(debit("cash", 6), credit("bob", 6), key="k")

    play(served.url, name, scene)


def test_holds_are_settled_voided_and_reversed(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        later = datetime.now(UTC) + timedelta(hours=1)
        held = expect_done(await ledger.hold(debit("cash", 10), credit("bob", 10), expires_at=later))
        assert (held.kind, held.status) == ("hold", "pending")
        assert held.expires_at and abs(held.expires_at - later) < timedelta(milliseconds=1)
        settled = expect_done(await ledger.settle(held.id, amount=6, reference="part"))
        assert settled.related.settles == held.id
        released = expect_done(await ledger.hold(debit("cash", 10), credit("bob", 10)))
        assert expect_done(await ledger.void(released.id)).related.voids == released.id
        mirrored = expect_done(await ledger.reverse(settled.id, amount=Money("0.04", "USD/2")))
        assert mirrored.related.reverses == settled.id
        assert (await ledger.accounts.get("bob")).balance == 2
        assert (await ledger.transaction(held.id)).status == "settled"

    play(served.url, name, scene)


def test_a_trial_records_nothing(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        tried = expect_done(await ledger.dry_run.post(debit("cash", 5), credit("bob", 5), key="k"))
        assert tried.id == id_of(name, "k")
        assert isinstance(await ledger.dry_run.post(debit("alice", 5), credit("bob", 5)), Refused)
        with pytest.raises(TransactionNotFound):
            await ledger.transaction(tried.id)

    play(served.url, name, scene)


def test_an_accepted_request_is_awaited_to_its_end(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        done = await ledger.accepted.post(debit("cash", 5), credit("bob", 5))
        assert isinstance(done, Done) and done.transaction.status == "posted"
        refused = await ledger.accepted.post(debit("alice", 5), credit("bob", 5))
        assert isinstance(refused, Refused) and isinstance(refused.problem, InsufficientFunds)

    play(served.url, name, scene)


def test_money_is_exact_and_of_the_accounts_asset(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        dollars = Money(Decimal("10.5"), "USD/2")
        made = expect_done(await ledger.post(debit("cash", dollars), credit("bob", dollars)))
        assert [entry.amount for entry in made.entries] == [1050, 1050]
        assert await ledger.money("bob", made.entries[1].amount) == dollars
        bob = await ledger.accounts.get("bob")
        assert bob.money(bob.balance) == dollars
        yen = Money(1050, "JPY/0")
        with pytest.raises(InexactAmount, match="in USD/2, not in JPY/0"):
            await ledger.post(debit("cash", yen), credit("bob", yen))
        with pytest.raises(InexactAmount, match="in USD/2, not in JPY/0"):
            await ledger.reverse(made.id, amount=yen)

    play(served.url, name, scene)


def test_accounts_are_opened_changed_frozen_and_closed(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        accounts = ledger.accounts
        opened = await accounts.open("shop", "USD/2", "credit", metadata={"a": "b"})
        assert await accounts.open("shop", "USD/2", "credit", metadata={"a": "b"}) == opened
        with pytest.raises(AccountExists):
            await accounts.open("shop", "EUR/2", "credit")
        changed = await accounts.change("shop", min_balance=-5, if_version=opened.version)
        assert (changed.min_balance, changed.metadata) == (-5, {"a": "b"})
        with pytest.raises(VersionMismatch):
            await accounts.change("shop", min_balance=0, if_version=opened.version)
        assert (await accounts.freeze("shop", "looked into")).status == "frozen"
        assert (await accounts.unfreeze("shop")).status == "open"
        assert (await accounts.get("shop", at_position=opened.position)).version == opened.version
        expect_done(await ledger.post(debit("cash", 5), credit("shop", 5)))
        with pytest.raises(AccountNotEmpty):
            await accounts.close("shop")
        expect_done(await ledger.post(debit("shop", 5), credit("cash", 5)))
        assert (await accounts.close("shop")).status == "closed"
        assert [found.address async for found in accounts.list(metadata={"a": "b"})] == ["shop"]

    play(served.url, name, scene)


def test_a_batch_is_accounted_for_item_by_item(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        held = expect_done(await ledger.hold(debit("cash", 9), credit("bob", 9)))
        items: list[Item] = [
            Post((debit("cash", 5), credit("alice", 5))),
            Post((debit("alice", 6), credit("bob", 6))),
            Post((debit("alice", 5), credit("nobody", 5))),
            Settle(held.id, 4),
            Void(held.id),
            Reverse(id_of(name, "unknown")),
        ]
        outcomes = await ledger.batch(items)
        assert [type(outcome) for outcome in outcomes] == [Done, Refused, Refused, Done, Refused, Refused]
        assert [outcome.key for outcome in outcomes] == [item.key for item in items]
        finals = [outcome.is_final for outcome in outcomes if isinstance(outcome, Refused)]
        assert finals == [True, False, True, False]
        again = await ledger.batch(items[:1])
        assert isinstance(again[0], Done) and again[0].is_replayed
        with pytest.raises(BatchRejected) as rejected:
            await ledger.batch([Post((debit("alice", 9), credit("bob", 9)))], "atomic")
        assert rejected.value.index == 0

    play(served.url, name, scene)


def test_a_key_that_is_twice_in_a_batch_is_carried_out_once(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        items = [Post((debit("cash", amount), credit("bob", amount)), key="k") for amount in (5, 5, 6)]
        first, again, another = await ledger.batch(items)
        assert isinstance(first, Done) and not first.is_replayed
        assert isinstance(again, Done) and again.is_replayed and again.transaction == first.transaction
        assert isinstance(another, Refused) and isinstance(another.problem, IdempotencyKeyReused)
        async with ledger.coalescing() as together:
            ended = await asyncio.gather(*map(together.carry_out, items), return_exceptions=True)
        assert [type(outcome) for outcome in ended] == [Done, Done, IdempotencyKeyReused]
        assert (await ledger.accounts.get("bob")).balance == 5

    play(served.url, name, scene)


def test_an_iterator_is_a_batch_too(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        price = Money("0.05", "USD/2")
        items = (Post((debit("cash", price), credit("bob", price))) for _ in range(3))
        assert [type(outcome) for outcome in await ledger.batch(items)] == [Done] * 3

    play(served.url, name, scene)


def test_what_does_not_exist_is_told_with_the_key(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        price = Money("0.05", "USD/2")
        async with ledger.coalescing() as together:
            for postings in (ledger, together, ledger.dry_run):
                for amount in (5, price):
                    with pytest.raises(AccountNotFound) as unknown:
                        await postings.post(debit("nobody", amount), credit("bob", amount), key="k")
                    assert unknown.value.key == "k"
        with pytest.raises(InvalidRequest):
            await ledger.accounts.open("a", "dollars", "credit")

    play(served.url, name, scene)


@pytest.mark.parametrize("key", ["~!$&'()*+,;=:@%2F", "...", "k?a=b#c", "\\"])
def test_a_key_of_any_visible_characters_is_found_again(served: Served, name: str, key: str) -> None:
    async def scene(ledger: Ledger) -> None:
        made = await ledger.post(
            debit("cash", 5), credit("bob", 5), key=key, metadata={"k": 'é\x7f\n"\u2028'}
        )
        found = await ledger.outcome_of(key)
        assert expect_done(found) == expect_done(made) and expect_done(found).id == id_of(name, key)

    play(served.url, name, scene)


def test_a_batch_may_be_of_any_length(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        items = [
            Post((debit("cash", 1), credit("bob", 1)), reference=str(number)) for number in range(10_001)
        ]
        outcomes = await ledger.batch(items)
        references = [outcome.transaction.reference for outcome in outcomes if isinstance(outcome, Done)]
        assert references == [item.reference for item in items]
        assert (await ledger.accounts.get("bob")).balance == 10_001
        with pytest.raises(ValueError, match="atomic"):
            await ledger.batch(items, "atomic")

    play(served.url, name, scene)


def test_calls_that_are_cancelled_leave_their_keys_and_nothing_else(
    served: Served, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """More than there are connections: a connection that stayed behind with each would leave none for the last ones."""

    async def scene(ledger: Ledger) -> None:
        chance = random.Random(5)

        async def leave(number: int) -> None:
            call = asyncio.ensure_future(ledger.post(debit("cash", 1), credit("bob", 1), key=f"k{number}"))
            await asyncio.sleep(chance.random() / 10)
            call.cancel()
            (ended,) = await asyncio.gather(call, return_exceptions=True)
            assert isinstance(ended, Done | asyncio.CancelledError)

        await asyncio.gather(*map(leave, range(250)))
        assert {f"k{number}" for number in range(250)} <= {text.split()[-1] for text in caplog.messages}
        for outcome in await asyncio.gather(
            *[ledger.post(debit("cash", 1), credit("bob", 1), key=f"k{number}") for number in range(250)]
        ):
            assert isinstance(outcome, Done)
        assert (await ledger.accounts.get("bob")).balance == 250

    with caplog.at_level(logging.INFO, "tallystick_client"):
        play(served.url, name, scene, Policy())


def test_events_are_followed_from_a_position(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        start = ledger.position
        made = expect_done(await ledger.post(debit("cash", 5), credit("bob", 5)))
        shown = [event async for event in ledger.events(start)]
        assert shown[-1].position == made.position and shown[-1].type == "transaction.posted"
        followed = ledger.events(made.position, follow=True, type="transaction.posted")
        more = expect_done(await ledger.post(debit("cash", 6), credit("bob", 6)))
        assert (await anext(followed)).position == more.position

    play(served.url, name, scene)


def test_the_story_of_a_request_is_told(served: Served, name: str) -> None:
    async def scene(ledger: Ledger) -> None:
        made = expect_done(await ledger.post(debit("cash", 5), credit("bob", 5), key="k/1".replace("/", "%")))
        operation = await ledger.operation("k%1")
        assert operation.state == "completed" and operation.is_decided
        story = await ledger.trace("k%1")
        assert story.verdict.code and story.operations[0].idempotency_key == "k%1"
        assert (await ledger.conversation(made.correlation_id)).timeline
        outcome = await ledger.outcome_of("k%1")
        assert isinstance(outcome, Done) and outcome.transaction == made
        assert (await ledger.info()).assets == ("USD/2",)

    play(served.url, name, scene)
