"""The client through a network that loses requests and answers: everything it requests is done exactly once."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.client import Client, Malformed, Refused, Unknown, new_key
from tests.contract.books import transfer_body
from tests.contract.serving import KEY, Served
from tests.faulty_proxy import Fault, FaultyProxy

ONCE = transfer_body("a", "b", 10)["entries"]


@pytest.fixture
def proxy(served: Served) -> Iterator[FaultyProxy]:
    """A proxy before the service, initially without faults."""
    service = urlsplit(served.url)
    assert service.hostname and service.port
    with FaultyProxy(service.hostname, service.port) as listening:
        yield listening


@pytest.fixture
def ledger(proxy: FaultyProxy) -> Iterator[Client]:
    """A client of a new ledger with two accounts, connected through the proxy."""
    with Client(proxy.url, KEY, f"l{uuid4().hex[:12]}", attempt_seconds=0.5) as client:
        client.open_ledger()
        client.open_account("a", "USD/2", "debit")
        client.open_account("b", "USD/2", "credit", max_balance=1_000)
        yield client


def post(client: Client) -> Any:
    return client.post(ONCE)


def post_asynchronously(client: Client) -> Any:
    return client.post(ONCE, respond_async=True)


def hold(client: Client) -> Any:
    return client.hold(ONCE)


def settle(client: Client) -> Any:
    return client.settle(client.hold(ONCE, key="held")["id"])


def void(client: Client) -> Any:
    return client.void(client.hold(ONCE, key="held")["id"])


def reverse(client: Client) -> Any:
    return client.reverse(client.post(ONCE, key="posted")["id"])


def batch(client: Client) -> Any:
    return client.batch([{"idempotency_key": new_key(), "entries": ONCE}])


# Each request, with what it leaves in `b`: debits and credits posted, credits pending.
REQUESTS = [
    (post, (0, 10, 0)),
    (post_asynchronously, (0, 10, 0)),
    (hold, (0, 0, 10)),
    (settle, (0, 10, 0)),
    (void, (0, 0, 0)),
    (reverse, (10, 10, 0)),
    (batch, (0, 10, 0)),
]
FAULTS = {
    "answer lost": [Fault.ANSWER_LOST],
    "answer withheld": [Fault.ANSWER_WITHHELD],
    "request lost": [Fault.REQUEST_LOST],
    "one after the other": [Fault.ANSWER_LOST, Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.ANSWER_LOST],
    "of the second request": [Fault.NOTHING, Fault.ANSWER_LOST, Fault.REQUEST_LOST, Fault.ANSWER_LOST],
}


@pytest.mark.parametrize("faults", FAULTS)
@pytest.mark.parametrize(("request_", "left"), REQUESTS, ids=[act.__name__ for act, _ in REQUESTS])
def test_what_is_asked_for_is_done_exactly_once(
    ledger: Client,
    proxy: FaultyProxy,
    request_: Callable[[Client], Any],
    left: tuple[int, int, int],
    faults: str,
) -> None:
    proxy.plan(FAULTS[faults])
    assert request_(ledger)
    found = ledger.account("b")
    assert proxy.planned == 0
    assert (found["posted"]["debits"], found["posted"]["credits"], found["pending"]["credits"]) == left


@pytest.mark.parametrize(
    ("fault", "state"), [(Fault.ANSWER_LOST, "completed"), (Fault.REQUEST_LOST, "unknown")]
)
def test_after_giving_up_the_key_tells(ledger: Client, proxy: FaultyProxy, fault: Fault, state: str) -> None:
    times = iter([0.0] * 6 + [60.0] * 9)  # of a few attempts; the last ends after the deadline
    hurried = Client(proxy.url, KEY, ledger.ledger, clock=lambda: next(times), wait=lambda _: None)
    proxy.plan([fault] * 9)
    with hurried, pytest.raises(Unknown) as gave_up:
        hurried.post(ONCE)
    assert proxy.planned > 0
    proxy.plan([])
    key = gave_up.value.key
    assert key
    assert ledger.what_became_of(key) == state
    assert ledger.post(ONCE, key=key)["idempotency_key"] == key
    assert ledger.what_became_of(key) == "completed"
    assert ledger.account("b")["balance"] == 10


@pytest.mark.parametrize("faults", [[], [Fault.ANSWER_LOST]])
def test_a_refusal_is_told_with_its_transaction(
    ledger: Client, proxy: FaultyProxy, faults: list[Fault]
) -> None:
    proxy.plan(faults)
    with pytest.raises(Refused) as refused:
        ledger.post(transfer_body("a", "b", 1_001)["entries"], key="much")
    assert refused.value.code == "balance_limit_exceeded"
    operation = ledger.operation("much")
    assert operation and operation["state"] == "rejected"
    assert operation["resource"].endswith(f"/{refused.value.transaction_id}")


def test_a_refusal_that_came_later_is_told_the_same(ledger: Client) -> None:
    with pytest.raises(Refused, match="balance_limit_exceeded"):
        ledger.post(transfer_body("a", "b", 1_001)["entries"], respond_async=True)


def test_what_is_malformed_leaves_its_key_free(ledger: Client) -> None:
    with pytest.raises(Malformed) as malformed:
        ledger.post([*ONCE, *ONCE[:1]], key="k")
    assert malformed.value.code == "unbalanced_transaction"
    assert ledger.what_became_of("k") == "unknown"
    assert ledger.post(ONCE, key="k")


def test_a_batch_rejected_as_a_whole_has_no_transaction(ledger: Client) -> None:
    too_much = {"idempotency_key": new_key(), **transfer_body("a", "b", 1_001)}
    with pytest.raises(Refused) as refused:
        ledger.batch([too_much])
    assert (refused.value.code, refused.value.transaction_id) == ("batch_rejected", None)


def test_a_statement_shows_what_the_client_wrote_page_by_page(ledger: Client) -> None:
    for _ in range(5):
        made = ledger.post(ONCE)
        assert ledger.position == made["position"]
        *_, last = ledger.entries("b", page_size=2)
        assert last["transaction_id"] == made["id"]
    assert [entry["balance_after"] for entry in ledger.entries("b", page_size=2)] == [10, 20, 30, 40, 50]
