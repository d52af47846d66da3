"""The requests of the HTTP load, as bytes, and how their answers are recognised."""

import json
from collections.abc import Iterator, Sequence
from itertools import count, cycle, islice
from random import Random
from typing import Any, Literal, NamedTuple

from scripts.bench.workloads.transfers import BOOK, PATH, Transfer, address, transfers

Kind = Literal["transfer", "batch", "statement"]


class Plan(NamedTuple):
    """A number of requests of one kind, on a number of connections, to a server on the loopback interface.

    `size` is the number of transfers in a batch, or of entries on a page of the statement of `account`. `shape` names
    the shape of the transfers. A two-phase transfer counts as one in `requests`.
    """

    port: int
    key: str
    connections: int
    requests: int
    accounts: int
    seed: int
    kind: Kind = "transfer"
    size: int = 1
    account: int = 0
    shape: str = "uniform"

    @property
    def units(self) -> int:
        """How many units one answer counts for: the transfers of a batch, or one page."""
        return 1 if self.kind == "statement" else self.size


class Expected(NamedTuple):
    """The required status of an answer, and how often `item` must occur in it."""

    status: bytes
    item: bytes
    items: int

    def are_in(self, answer: bytes) -> bool:
        """Tell whether the answer has every item."""
        return not self.items or answer.count(self.item) == self.items


def expected(plan: Plan) -> Expected:
    """Return what every answer must contain."""
    match plan.kind:
        case "batch":
            return Expected(b"200", b'"status":201,', plan.size)
        case "statement":
            return Expected(b"200", b'"transaction_id":', plan.size)
    return Expected(b"201", b"", 0)


def requests(plan: Plan) -> Iterator[Sequence[bytes]]:
    """Yield groups of requests without end. Each request of a group is sent after the answer to the one before."""
    source = transfers(plan.accounts, Random(plan.seed), plan.shape)
    match plan.kind:
        case "transfer":
            return (transfer_requests(plan, transfer) for transfer in source)
        case "batch":
            return ([_batch(plan, islice(source, plan.size))] for _ in count())
    return ([_statement(plan, order)] for order in cycle(("asc", "desc")))


def transfer_requests(plan: Plan, transfer: Transfer) -> list[bytes]:
    """Return the requests a transfer takes."""
    return [
        _post(plan, request.path, request.body, f"Idempotency-Key: {request.key}\r\n")
        for request in transfer.requests()
    ]


def _batch(plan: Plan, items: Iterator[Transfer]) -> bytes:
    bodies = [{"idempotency_key": item.key, **item.body()} for item in items]
    return _post(plan, f"{PATH}/batch", {"mode": "independent", "transactions": bodies})


def own_write(plan: Plan, transfer: Transfer, position: int) -> bytes:
    """Return the request for an account's last entries that waits until the transfer is among them."""
    path = f"/v1/ledgers/{BOOK}/accounts/{transfer.credited}/entries"
    return f"GET {path}?page_size=10&order=desc&min_position={position} {_head(plan)}\r\n".encode()


def _statement(plan: Plan, order: str) -> bytes:
    path = f"/v1/ledgers/{BOOK}/accounts/{address(plan.account)}/entries"
    return f"GET {path}?page_size={plan.size}&order={order} {_head(plan)}\r\n".encode()


def _post(plan: Plan, path: str, content: Any, headers: str = "") -> bytes:
    body = json.dumps(content, separators=(",", ":")).encode()
    lengths = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"POST {path} {_head(plan)}{lengths}{headers}\r\n".encode() + body


def _head(plan: Plan) -> str:
    return f"HTTP/1.1\r\nHost: 127.0.0.1:{plan.port}\r\nAuthorization: Bearer {plan.key}\r\n"
