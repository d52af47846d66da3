"""The synchronous client against the real service: generated from the other, so a story of each part is enough."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from api.client import Done, Post, Refused, credit, debit, expect_done
from api.client.problems import UnbalancedTransaction
from api.client.refusals import InsufficientFunds
from api.client.synchronous import Tallystick
from tests.contract.client.scenes import HURRIED
from tests.contract.serving import KEY
from tests.faulty_proxy import Fault, FaultyProxy

LOST = [Fault.ANSWER_LOST, Fault.REQUEST_LOST, Fault.ANSWER_WITHHELD]


def test_every_part_works_without_an_event_loop(proxy: FaultyProxy, name: str) -> None:
    with Tallystick(proxy.url, KEY, HURRIED) as tally:
        ledger = tally.open_ledger(name)
        ledger.accounts.open("cash", "USD/2", "debit")
        ledger.accounts.open("bob", "USD/2", "credit", min_balance=0)
        proxy.plan(LOST)
        made = expect_done(ledger.post(debit("cash", 5), credit("bob", 5)))
        assert proxy.planned == 0
        refused = ledger.post(debit("bob", 6), credit("cash", 6))
        assert isinstance(refused, Refused) and isinstance(refused.problem, InsufficientFunds)
        with pytest.raises(UnbalancedTransaction):
            ledger.post(debit("cash", 5), credit("bob", 6))
        assert isinstance(ledger.accepted.post(debit("cash", 5), credit("bob", 5)), Done)
        proxy.plan(LOST)
        assert len(ledger.batch([Post((debit("cash", 1), credit("bob", 1))) for _ in range(10)])) == 10
        assert len(list(ledger.accounts.entries("bob"))) == 12
        followed = ledger.events(made.position - 1, follow=True)
        assert next(followed).position == made.position
        assert ledger.accounts.get("bob").balance == 20
        assert {shown.name for shown in tally.ledgers()} >= {name}


def test_threads_share_a_client_and_travel_together(proxy: FaultyProxy, name: str) -> None:
    with Tallystick(proxy.url, KEY, HURRIED) as tally:
        ledger = tally.open_ledger(name)
        ledger.accounts.open("cash", "USD/2", "debit")
        ledger.accounts.open("bob", "USD/2", "credit")
        proxy.plan(LOST)
        with ThreadPoolExecutor(16) as threads, ledger.coalescing() as together:
            ended = list(threads.map(lambda _: together.post(debit("cash", 1), credit("bob", 1)), range(200)))
        assert {type(outcome) for outcome in ended} == {Done}
        assert ledger.accounts.get("bob").balance == 200
