"""The load: transfers between accounts without limits, as bodies of requests and as commands."""

from collections.abc import Iterator
from itertools import count, islice
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from domain.accounts import AccountOpened, OpenAccount
from domain.commands import Command, Outcome
from domain.deciding import Result
from domain.entries import Entry
from domain.events import Context
from domain.ledger import Ledger
from domain.ledgers import OpenLedger
from domain.operations import Operation, fingerprint, operation_id
from domain.postings import PostTransaction
from domain.transactions import Description
from scripts.bench.figures import BenchFailed

BOOK = "main"
PATH = f"/v1/ledgers/{BOOK}/transactions"
AMOUNT = 5
"""What each transfer moves, in minor units: so the totals of the books are known beforehand."""

OPENED_AT_ONCE = 1_000
RECORDED_AT_ONCE = 1_000


class Transfer(NamedTuple):
    """A transfer as a caller has it in mind: its key, the account debited, the account credited."""

    key: str
    debited: str
    credited: str

    def body(self) -> dict[str, Any]:
        """Return the body of the request."""
        return {
            "entries": [
                {"account": self.debited, "direction": "debit", "amount": AMOUNT},
                {"account": self.credited, "direction": "credit", "amount": AMOUNT},
            ],
            "reference": f"order-{self.key[-8:]}",
        }

    def command(self, random: Random) -> Command:
        """Return the command that the service makes of the request."""
        body = self.body()
        return PostTransaction(
            Context(
                "bench",
                random_uuid(random),
                f"00-{random.randbytes(16).hex()}-{random.randbytes(8).hex()}-01",
            ),
            BOOK,
            Operation(self.key, operation_id(BOOK, self.key), fingerprint("POST", PATH, body)),
            Description(reference=body["reference"]),
            tuple(Entry(**entry) for entry in body["entries"]),
        )


def transfers(accounts: int, random: Random, *, hot: bool = False) -> Iterator[Transfer]:
    """Yield transfers without end, each between two accounts chosen evenly.

    With `hot` the first account is debited in each of them.
    """
    name = random_uuid(random)
    for number in count():
        debited, credited = (
            random.sample(range(accounts), 2) if not hot else (0, random.randrange(1, accounts))
        )
        yield Transfer(f"{name}-{number:08}", address(debited), address(credited))


def address(number: int) -> str:
    """Return the address of the account with a number."""
    return f"users:{number}:wallet"


def random_uuid(random: Random) -> str:
    """Return a random UUID as text."""
    return str(UUID(int=random.getrandbits(128), version=4))


def open_accounts(ledger: Ledger, accounts: int) -> None:
    """Open the book and its accounts, some of them at a time."""
    context = Context("bench", "bench", None)
    opening = AccountOpened(
        asset="USD/2", normal_side="credit", min_balance=None, max_balance=None, metadata={}
    )
    ledger.perform(OpenLedger(context, BOOK, {}))
    for first in range(0, accounts, OPENED_AT_ONCE):
        numbers = range(first, min(first + OPENED_AT_ONCE, accounts))
        commands = (OpenAccount(context, BOOK, address(number), opening) for number in numbers)
        for result in ledger.execute(*commands).result():
            require_recorded(result)


def record(ledger: Ledger, source: Iterator[Transfer], random: Random) -> None:
    """Record transfers, many at a time."""
    while batch := [transfer.command(random) for transfer in islice(source, RECORDED_AT_ONCE)]:
        for result in ledger.execute(*batch).result():
            require_recorded(result)


def require_recorded(result: Result) -> None:
    """Raise `BenchFailed` unless a command recorded something now, and that not a refusal."""
    if not isinstance(result, Outcome):
        raise BenchFailed(f"a command was refused: {result!r}") from result
    if not result.recorded or result.state.status not in ("open", "posted"):
        raise BenchFailed(f"a command did not do what was asked: {result}")
