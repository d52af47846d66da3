"""The wallet, with every answer lost once, everything done twice, and every webhook taken twice."""

from collections.abc import Iterator

import pytest

from api.client import WebhookUnverified, id_of
from api.client.synchronous import Ledger
from tests.contract.serving import Served
from tests.examples.lost_answers import LosingAnswers
from tests.examples.wallet import NotEnough, Wallet
from tests.outboxes import Hook, publishing, register
from tests.projecting import eventually
from tests.receiver import Receiver, receiving


@pytest.fixture
def receiver(example_service: Served) -> Iterator[Receiver]:
    """The address that the wallet's webhooks go to."""
    with receiving() as receiver, publishing(example_service.database):
        yield receiver


@pytest.fixture
def hook(example_service: Served, receiver: Receiver, ledger: Ledger) -> Hook:
    """The wallet's webhook."""
    with example_service.database.connect("test") as connection:
        return register(connection, receiver.url, (ledger.name,))


def test_withdrawals_end_once_however_often_they_are_told(
    ledger: Ledger, network: LosingAnswers, receiver: Receiver, hook: Hook
) -> None:
    wallet = Wallet(ledger, hook.secret)
    paid, failed = (id_of(ledger.name, key) for key in ("out-1", "out-2"))
    for _ in range(2):
        wallet.open()
        wallet.sign_up("ada")
        wallet.sign_up("ben")
        wallet.pay_in("77", "ada", 5_000)
        wallet.pay("1", "ada", "ben", 1_200)
        with pytest.raises(NotEnough):
            wallet.pay("2", "ben", "ada", 1_300)
        wallet.withdraw("1", "ada", 2_000, {"iban": "DE02120300000000202051"})
        wallet.withdraw("2", "ben", 700, {"iban": "DE0", "simulate": "failed"})
    assert network.lost > 5
    assert set(wallet.withdrawals) == {paid, failed}

    def ends() -> set[str]:
        types = {"payout.completed", "payout.failed"}
        return {each.id for each in receiver.received if each.verified(hook.secret)["type"] in types}

    eventually(lambda: len(ends()) == 2)
    for received in [*receiver.received, *receiver.received]:
        wallet.take_webhook(received.headers, received.body)
    assert wallet.withdrawals == {paid: "paid", failed: "given back"}
    assert sorted(wallet.messages_to_owners) == ["2000 paid", "700 given back"]
    assert (wallet.balance("ada"), wallet.balance("ben")) == (5_000 - 1_200 - 2_000, 1_200)
    assert len(list(ledger.payouts.list())) == 2


def test_what_was_not_signed_by_the_ledger_is_not_taken(ledger: Ledger, hook: Hook) -> None:
    wallet = Wallet(ledger, hook.secret)
    headers = {"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
    with pytest.raises(WebhookUnverified):
        wallet.take_webhook(headers, b'{"type": "payout.completed"}')
    assert wallet.withdrawals == {}
