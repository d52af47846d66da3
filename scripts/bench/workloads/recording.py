"""The in-process load: transfers as commands, and books opened and filled beforehand."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from random import Random

from domain.application import LedgerApplication
from domain.commit.decider import Result
from domain.model.accounts import AccountOpened, OpenAccount
from domain.model.commands import Command, Outcome
from domain.model.entries import Entry
from domain.model.events import Context
from domain.model.holds import SettleHold, VoidHold
from domain.model.idempotency import Operation, fingerprint, operation_id
from domain.model.ledgers import OpenLedger
from domain.model.postings import PostTransaction
from domain.model.transactions import Description
from scripts.bench.report.figures import BenchFailed
from scripts.bench.workloads.transfers import BOOK, Request, Transfer, address, random_uuid

AT_ONCE = 1_000
"""How many accounts are opened, or transfers recorded, together, where that is not being measured."""

OUTSTANDING_BATCHES = 3
"""How many batches are submitted and not yet answered, to keep the writer busy."""

OVERDRAFT = 10**12
"""The overdraft of a limited account: more than any run moves, so that each transfer is checked and none is refused."""


def command(request: Request, random: Random) -> Command:
    """Return the command the service makes of this request."""
    context = Context(
        "bench", random_uuid(random), f"00-{random.randbytes(16).hex()}-{random.randbytes(8).hex()}-01"
    )
    operation = Operation(
        request.key, operation_id(BOOK, request.key), fingerprint("POST", request.path, request.body)
    )
    description = Description(reference=request.body.get("reference", ""))
    if request.named_id is not None:
        end = SettleHold if request.path.endswith("/settle") else VoidHold
        return end(context, BOOK, operation, description, request.named_id)
    entries = tuple(Entry(**entry) for entry in request.body["entries"])
    pending = request.body.get("pending", False)
    return PostTransaction(context, BOOK, operation, description, entries, pending=pending)


def open_accounts(ledger: LedgerApplication, accounts: int, *, limited: bool = False) -> None:
    """Open the book and its accounts, some at a time. `limited` opens as many again, numbered after the others, with a
    limited overdraft.
    """
    context = Context("bench", "bench", None)
    ledger.perform(OpenLedger(context, BOOK, {}))
    for first, min_balance in ((0, None), (accounts, -OVERDRAFT))[: 1 + limited]:
        opening = AccountOpened(
            asset="USD/2", normal_side="credit", min_balance=min_balance, max_balance=None, metadata={}
        )
        _execute(
            ledger,
            (OpenAccount(context, BOOK, address(first + number), opening) for number in range(accounts)),
        )


def record(ledger: LedgerApplication, source: Iterator[Transfer], random: Random) -> None:
    """Record transfers, many at a time."""
    _execute(ledger, (command(request, random) for transfer in source for request in transfer.requests()))


def _execute(ledger: LedgerApplication, commands: Iterator[Command]) -> None:
    """Execute commands. One batch is decided while the next is made."""
    waiting: deque[Future[Sequence[Result]]] = deque()
    while batch := list(islice(commands, AT_ONCE)):
        if len(waiting) == OUTSTANDING_BATCHES:
            _require_all_recorded(waiting.popleft())
        waiting.append(ledger.execute(*batch))
    for future in waiting:
        _require_all_recorded(future)


def _require_all_recorded(future: "Future[Sequence[Result]]") -> None:
    for result in future.result():
        require_recorded(result)


def require_recorded(result: Result) -> None:
    """Raise `BenchFailed` unless the command recorded something just now and was not refused."""
    if not isinstance(result, Outcome):
        raise BenchFailed(f"a command was refused: {result!r}") from result
    if not result.recorded or result.is_refused:
        raise BenchFailed(f"a command did not do what was asked: {result}")
