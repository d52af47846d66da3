"""A service that has something of everything: what `schemathesis.toml` and the tests of all pages name."""

import httpx2

from scripts.simulator.faults import Script
from tests import witnessed
from tests.contract.books import Book
from tests.contract.serving import Served
from tests.projecting import append, eventually, unreadable_posting


def prepare(served: Served, client: httpx2.Client) -> dict[str, str]:
    """Make something of everything. Return the ids that do not follow from keys, by what they are of."""
    spare_key_id = fill(client)
    pay_out(served, client)
    pause_rebuilds(client)
    with served.database.connect("test witness") as connection:
        witnessed.grow(connection)
    return {
        "spare_key_id": spare_key_id,
        "checkpoint_size": checkpoint_size(client),
        **deliver(client),
        **poison(served, client),
    }


def fill(client: httpx2.Client) -> str:
    """Make the ledger `main` with accounts, a payment and holds. Return the id of a key that may be lost."""
    assert client.post("/v1/ledgers", json={"name": "main"}).status_code == 201
    book = Book(client, "main")
    book.open("bank:cash", normal_side="debit")
    for address in ("users:alice:wallet", "users:bob:wallet", "spare:1", "spare:2"):
        book.open(address)
    for key in ("payment-1", "hold-1", "hold-2", "hold-3"):
        pending = key != "payment-1"
        made = book.transfer("bank:cash", "users:alice:wallet", 5_000, key, pending=pending)
        assert made.status_code == 201
    made = client.post("/v1/keys", json={"name": "spare", "roles": ["client"], "ledgers": ["main"]})
    spare_key_id: str = made.json()["id"]
    return spare_key_id


def checkpoint_size(client: httpx2.Client) -> str:
    """Return the size of a signed checkpoint. The first one may be signed before anything is recorded."""

    def sizes() -> list[int]:
        listed = client.get("/v1/audit/checkpoints").json()["data"]
        return [checkpoint["size"] for checkpoint in listed if checkpoint["size"] > 1]

    eventually(lambda: bool(sizes()))
    return str(sizes()[0])


def deliver(client: httpx2.Client) -> dict[str, str]:
    """Make two deliveries that nobody acknowledges. Return the ids of their webhook and of both."""
    wanted = {"url": "https://93.184.216.34/ledger", "ledgers": ["main"], "types": ["account.opened"]}
    hook = client.post("/v1/webhooks", json=wanted).json()["id"]
    for address in ("told:1", "told:2"):
        Book(client, "main").open(address)
    path = f"/v1/webhooks/{hook}/deliveries"
    eventually(lambda: len(client.get(path).json()["data"]) == 2)
    retried, discarded = (delivery["id"] for delivery in client.get(path).json()["data"])
    return {
        "webhook_id": hook,
        "delivery_id": retried,
        "discarded_delivery_id": discarded,
    }


def pause_rebuilds(client: httpx2.Client) -> None:
    """Leave one rebuild that can be paused and one that can be resumed, each of another projection."""
    for name in ("payouts", "outbox"):
        path = f"/v1/projections/{name}/rebuild"

        def is_paused(path: str = path) -> bool:
            """Whether it was paused before it ended. A rebuild takes at least a moment."""
            assert client.post(path, json={}).status_code == 202
            return client.post(f"{path}/pause", json={}).status_code == 200

        eventually(is_paused)


def pay_out(served: Served, client: httpx2.Client) -> None:
    """Make a payout that is completed and one that is stuck."""
    served.simulator.faults.follow(Script(amount=7, wrong_amount=True))
    book = Book(client, "main")
    for key, amount, state in (("payout-1", 5, "completed"), ("payout-2", 7, "stuck")):
        made = book.pay_out(amount, key, "users:alice:wallet")
        book.await_payout(made.json()["id"], state)


def poison(served: Served, client: httpx2.Client) -> dict[str, str]:
    """Make dead letters. Return the ids of one that may be retried and one that may be discarded."""
    with served.database.connect_as_owner("test owner") as owner:
        (recorded_at,) = owner.execute("SELECT recorded_at FROM head").fetchone() or ("",)
        state = unreadable_posting(recorded_at)
        for number in range(2):
            append(owner, f"main/transactions/poison-{number}", 1, "transaction.posted", state)

    def ids() -> list[str]:
        letters = client.get("/v1/dead-letters?projection=entries").json()["data"]
        return [letter["id"] for letter in letters]

    eventually(lambda: len(ids()) == 2)
    return dict(zip(("retried_id", "discarded_id"), ids(), strict=True))
