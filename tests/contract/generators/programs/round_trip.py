"""What a program does with the client that openapi-python-client made. Prints the lists that it read, one a line.

Called with the address of the service, a key and the name of a ledger to open.
"""

import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any
from uuid import UUID

from tallystick_api import AuthenticatedClient, api
from tallystick_api.api.accounts import change_account, get_account, list_accounts, open_account
from tallystick_api.api.audit import list_events
from tallystick_api.api.ledgers import open_ledger
from tallystick_api.api.operations import get_operation
from tallystick_api.api.transactions import post_batch, post_transaction
from tallystick_api.api.webhooks import delete_webhook, register_webhook
from tallystick_api.models import (
    Account,
    AccountChange,
    AccountPage,
    AccountRequest,
    BatchMode,
    BatchRequest,
    BatchResults,
    CompletedOperation,
    Direction,
    EntryRequest,
    EventPage,
    Ledger,
    LedgerRequest,
    Metadata,
    MetadataFilter,
    NewWebhook,
    PostedResult,
    PostItem,
    Problem,
    ProblemCode,
    RefusedResult,
    RejectedOperation,
    Transaction,
    TransactionPostedEvent,
    TransactionRejectedEvent,
    TransactionRequest,
    UndecidedOperation,
    VoidItem,
    WebhookEventType,
    WebhookRequest,
)

URL, KEY, LEDGER = sys.argv[1:]


def entries(amount: int, payer: str = "users:alice", payee: str = "users:bob") -> list[EntryRequest]:
    """The entries of a transfer, in minor units."""
    return [
        EntryRequest(account=payer, direction=Direction.DEBIT, amount=amount),
        EntryRequest(account=payee, direction=Direction.CREDIT, amount=amount),
    ]


def open_accounts(client: AuthenticatedClient) -> None:
    """Open the ledger and two accounts. Metadata come back as they were sent, and are found by."""
    opened = open_ledger.sync(client=client, body=LedgerRequest(name=LEDGER, metadata=metadata(region="eu")))
    assert isinstance(opened, Ledger) and opened.metadata.additional_properties == {"region": "eu"}
    for address, least in (("users:alice", -5_000), ("users:bob", 0)):
        request = AccountRequest(
            address=address,
            asset="USD/2",
            normal_side=Direction.CREDIT,
            min_balance=least,
            metadata=metadata(customer=address),
        )
        account = open_account.sync(LEDGER, client=client, body=request)
        assert isinstance(account, Account) and account.metadata["customer"] == address
    change = AccountChange(metadata=metadata(customer="42"))
    changed = change_account.sync(LEDGER, "users:bob", client=client, body=change)
    read = get_account.sync(LEDGER, "users:bob", client=client)
    assert isinstance(changed, Account) and isinstance(read, Account)
    assert read.metadata == changed.metadata == metadata(customer="42")
    assert (read.min_balance, read.opened_at.tzinfo is not None) == (0, True)
    asked = MetadataFilter.from_dict({"metadata.customer": "42"})
    page = list_accounts.sync(LEDGER, client=client, min_position=changed.position, metadata=asked)
    assert isinstance(page, AccountPage) and [found.address for found in page.data] == ["users:bob"]


def metadata(**texts: str) -> Metadata:
    """Metadata with these texts."""
    return Metadata.from_dict(texts)


def transfer(client: AuthenticatedClient) -> int:
    """Transfer, be refused and be accepted; ask what became of each. Return the newest position."""
    posted = post_transaction.sync(
        LEDGER, client=client, idempotency_key="order-1", body=TransactionRequest(entries=entries(5_000))
    )
    assert isinstance(posted, Transaction) and isinstance(posted.id, UUID)
    refused = post_transaction.sync(
        LEDGER, client=client, idempotency_key="order-2", body=TransactionRequest(entries=entries(1))
    )
    assert isinstance(refused, Problem) and refused.code is ProblemCode.INSUFFICIENT_FUNDS
    assert (refused.status, refused.shortfall) == (409, 1)
    accepted = post_transaction.sync(
        LEDGER,
        client=client,
        idempotency_key="order-3",
        prefer="respond-async",
        body=TransactionRequest(entries=entries(1)),
    )
    assert isinstance(accepted, UndecidedOperation) and accepted.completed_at is None
    done = get_operation.sync(LEDGER, "order-1", client=client)
    assert isinstance(done, CompletedOperation) and done.completed_at == posted.recorded_at
    rejected = get_operation.sync(LEDGER, "order-2", client=client)
    assert isinstance(rejected, RejectedOperation) and rejected.problem.shortfall == refused.shortfall
    unknown = get_operation.sync(LEDGER, "order-4", client=client)
    assert isinstance(unknown, Problem) and unknown.code is ProblemCode.OPERATION_UNKNOWN
    return rejected.position


def batch(client: AuthenticatedClient) -> None:
    """Send items of two kinds together: one is posted, and the other names no transaction."""
    request = BatchRequest(
        mode=BatchMode.INDEPENDENT,
        transactions=[
            PostItem(idempotency_key="item-1", entries=entries(1, "users:bob", "users:alice")),
            VoidItem(idempotency_key="item-2", void="0b2f7c1e-8d3a-5b6f-9c0d-1e2f3a4b5c6d"),
        ],
    )
    results = post_batch.sync(LEDGER, client=client, body=request)
    assert isinstance(results, BatchResults)
    posted, refused = results.results
    assert isinstance(posted, PostedResult) and posted.transaction.entries[0].account == "users:bob"
    assert isinstance(refused, RefusedResult) and refused.problem.code is ProblemCode.TRANSACTION_NOT_FOUND


def read_events(client: AuthenticatedClient, position: int) -> None:
    """Read the events: each is of the class of its type, with the payload of its type."""
    page = list_events.sync(LEDGER, client=client, min_position=position)
    assert isinstance(page, EventPage)
    posted = next(event for event in page.data if isinstance(event, TransactionPostedEvent))
    assert posted.payload and [entry.balance_after for entry in posted.payload.entries] == [-5_000, 5_000]
    rejected = next(event for event in page.data if isinstance(event, TransactionRejectedEvent))
    assert rejected.payload and rejected.payload.code == "insufficient_funds"


def read_lists(client: AuthenticatedClient, webhook: UUID) -> Iterator[str]:
    """Read every list there is. Yield the names of their operations."""
    known = {"ledger": LEDGER, "address": "users:alice", "id": webhook, "log": "west"}
    for place in pkgutil.walk_packages(api.__path__, f"{api.__name__}."):
        name = place.name.rpartition(".")[2]
        if name.startswith("list_"):
            read: Callable[..., Any] = import_module(place.name).sync
            needed = {key: known[key] for key in inspect.signature(read).parameters if key in known}
            page = read(client=client, **needed)
            if name == "list_witnessed":
                assert isinstance(page, Problem) and page.code is ProblemCode.WITNESSED_LOG_NOT_FOUND
            else:
                assert type(page).__name__.endswith("Page") or name == "list_installations", (name, page)
                assert isinstance(page.data, list)
            yield name


def main() -> None:
    """Do all of it."""
    with AuthenticatedClient(base_url=URL, token=KEY) as client:
        open_accounts(client)
        position = transfer(client)
        batch(client)
        read_events(client, position)
        wanted = WebhookRequest(
            url="https://93.184.216.34/", ledgers=[LEDGER], types=[WebhookEventType.ACCOUNT_CLOSED]
        )
        webhook = register_webhook.sync(client=client, body=wanted)
        assert isinstance(webhook, NewWebhook) and webhook.types == [WebhookEventType.ACCOUNT_CLOSED]
        for name in read_lists(client, webhook.id):
            sys.stdout.write(f"{name}\n")
        delete_webhook.sync_detailed(webhook.id, client=client)


main()
