"""The load: transfers between accounts, as the requests that make them.

recording.py makes commands of them, apart from here so that the HTTP client need not load that code.
"""

from collections.abc import Iterator
from itertools import count, cycle
from random import Random
from typing import Any, Literal, NamedTuple
from uuid import UUID

from domain.model.idempotency import operation_id
from scripts.bench.workloads.shapes import SHAPES

BOOK = "main"
PATH = f"/v1/ledgers/{BOOK}/transactions"
AMOUNT = 5
"""What each transfer moves, in minor units. A fixed amount makes the totals of the books known in advance."""

Ending = Literal["settle", "void"]


class Request(NamedTuple):
    """A keyed request: its path, its body, and the transaction it names, if any."""

    key: str
    path: str
    body: dict[str, Any]
    named_id: str | None = None


class Transfer(NamedTuple):
    """A transfer as a caller sees it: its key, the account debited, the account credited.

    With an `ending` it has two phases: a hold, and then its settlement or void.
    """

    key: str
    debited: str
    credited: str
    ending: Ending | None = None

    def body(self) -> dict[str, Any]:
        """Return the body of the first request."""
        return {
            "entries": [
                {"account": self.debited, "direction": "debit", "amount": AMOUNT},
                {"account": self.credited, "direction": "credit", "amount": AMOUNT},
            ],
            "reference": f"order-{self.key[-8:]}",
            **({"pending": True} if self.ending else {}),
        }

    def requests(self) -> list[Request]:
        """Return its requests, each to be sent after the answer to the one before."""
        first = Request(self.key, PATH, self.body())
        if self.ending is None:
            return [first]
        hold = operation_id(BOOK, self.key)
        return [first, Request(f"{self.key}-{self.ending}", f"{PATH}/{hold}/{self.ending}", {}, hold)]


def transfers(accounts: int, random: Random, shape: str = "uniform") -> Iterator[Transfer]:
    """Yield transfers without end among the first `accounts` accounts, with the named shape."""
    pick, two_phase_percent = SHAPES[shape]
    endings: Iterator[Ending] = cycle(("settle", "void"))
    name = random_uuid(random)
    for number in count():
        debited, credited = pick(random, accounts)
        is_held = two_phase_percent > 0 and random.randrange(100) < two_phase_percent
        key = f"{name}-{number:08}"
        yield Transfer(key, address(debited), address(credited), next(endings) if is_held else None)


def address(number: int) -> str:
    """Return the address of the account with this number."""
    return f"users:{number}:wallet"


def random_uuid(random: Random) -> str:
    """Return a random UUID as text."""
    return str(UUID(int=random.getrandbits(128), version=4))
