"""The console's pages beside a large journal, over HTTP, one reader: no page may take longer because much happened."""

import http.client
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from random import Random
from secrets import token_urlsafe
from time import perf_counter
from urllib.parse import urlencode

from domain.journal.database import Database
from domain.model.idempotency import operation_id
from projections.registry import PROJECTIONS
from scripts.bench.report.figures import BenchFailed, Contestant, Measurement
from scripts.bench.stages.growth import LONG, GrowingJournal
from scripts.bench.stages.stage import Stage
from scripts.bench.workloads.books import balanced_books
from scripts.bench.workloads.catching_up import catch_up
from scripts.bench.workloads.installation import installation, running
from scripts.bench.workloads.load import percentiles
from scripts.bench.workloads.recording import record
from scripts.bench.workloads.servers import service
from scripts.bench.workloads.transfers import BOOK, Transfer, address

TIMEOUT_SECONDS = 30.0
MOST_FILLING_SECONDS = 1_800.0
WARM_UP_PAGES = 20
MOST_PAGES = 1_000
KNOWN_TRANSFERS = 50
"""How many transfers are recorded under known keys before the journal grows, and as many after it."""

_LEDGER = f"/console/ledgers/{BOOK}"
_ACCOUNT = f"{_LEDGER}/accounts/{{account}}"

PAGES: Mapping[str, str] = {
    "page-now": "/console",
    "page-stuck": "/console/stuck",
    "page-projections": "/console/projections",
    "page-projection": "/console/projections/transactions",
    "page-dead-letters": "/console/dead-letters",
    "page-webhooks": "/console/webhooks",
    "page-keys": "/console/keys",
    "page-key-trail": "/console/audit/events",
    "page-denied": "/console/keys/denied",
    "page-audit": "/console/audit",
    "page-open": "/console/open?q={transaction}",
    "page-ledgers": "/console/ledgers",
    "page-ledger": _LEDGER,
    "page-events": f"{_LEDGER}/events",
    "page-events-of-a-type": f"{_LEDGER}/events?type=account.opened",
    "page-event": f"{_LEDGER}/events/{{position}}",
    "page-payouts": f"{_LEDGER}/payouts",
    "page-accounts": f"{_LEDGER}/accounts",
    "page-account": _ACCOUNT,
    "page-account-at-a-position": f"{_ACCOUNT}?at_position={{position}}",
    "page-truth": f"{_ACCOUNT}/truth",
    "page-account-of-many-entries": f"{_LEDGER}/accounts/{{longest}}",
    "page-account-of-many-entries-before": f"{_LEDGER}/accounts/{{longest}}?at_position={{position}}",
    "page-transactions": f"{_LEDGER}/transactions",
    "page-transaction": f"{_LEDGER}/transactions/{{transaction}}",
    "page-story": f"{_LEDGER}/operations/{{key}}",
    "page-balances": f"{_LEDGER}/balances",
    "page-trial-balance": f"{_LEDGER}/trial-balance",
    "page-difference": f"{_LEDGER}/balances/difference?first={{position}}",
}
"""The pages, by workload: their addresses, with names that are drawn anew for each request."""


@contextmanager
def console_pages(url: str, accounts: int, events: int) -> Iterator[Stage]:
    """The console stage: a journal of about `events` events, and the complete service that shows it."""
    with installation(url) as database:
        transfers = _fill(database, accounts, events)
        newest = catch_up(database, list(PROJECTIONS.values()), MOST_FILLING_SECONDS)
        key = "tk_" + token_urlsafe(32)
        with service(database, key) as served, closing(Browser(served.port, key)) as browser:
            names = Names(accounts, newest)
            contestants = tuple(
                Contestant(name, "pages/s", _reading(browser, path, names), WARM_UP_PAGES, MOST_PAGES)
                for name, path in PAGES.items()
            )
            yield Stage(contestants, lambda: balanced_books(database, transfers))


def _fill(database: Database, accounts: int, events: int) -> int:
    """Fill a journal. Return how many transfers it holds."""
    random = Random(6)
    known = [Transfer(key, address(LONG), address(1)) for key in _keys()]
    with running(database) as ledger:
        journal = GrowingJournal(database, ledger, accounts)
        record(ledger, iter(known[:KNOWN_TRANSFERS]), random)
        journal.grow(events)
        record(ledger, iter(known[KNOWN_TRANSFERS:]), random)
    return journal.transfers + len(known)


def _keys() -> list[str]:
    """Return the keys of the known transfers: half of them are of the oldest, half of the newest."""
    return [f"known-{number:08}" for number in range(2 * KNOWN_TRANSFERS)]


class Names:
    """What pages are asked for: any account and any position, and a transfer that is old or new."""

    def __init__(self, accounts: int, newest: int) -> None:
        self._random = Random(7)
        self._accounts = accounts
        self._newest = newest
        self._keys = _keys()

    def drawn(self) -> Mapping[str, str]:
        """Return one of each, by what stands for it in the addresses of `PAGES`."""
        key = self._random.choice(self._keys)
        return {
            "account": address(self._random.randrange(1, self._accounts)),
            "longest": address(LONG),
            "key": key,
            "transaction": operation_id(BOOK, key),
            "position": str(self._random.randint(1, self._newest)),
        }


class Browser:
    """As much of a browser as a page's time needs: it is signed in, asks for a page, and reads it to its end."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self._ask("POST", "/console/sign-in", form, urlencode({"key": key}))
        cookie = answer.getheader("Set-Cookie")
        if cookie is None:
            raise BenchFailed(f"signing in to the console was answered with {answer.status}")
        self._headers = {"Cookie": cookie.partition(";")[0]}

    def read(self, path: str) -> float:
        """Read a page. Return how long it took, in seconds. Raises `BenchFailed` if it is not shown."""
        began = perf_counter()
        answer = self._ask("GET", path, self._headers)
        seconds = perf_counter() - began
        # The page that opens anything leads on. Whoever is led to the form that asks for a key is shown nothing.
        leads_on = answer.status == 303 and "sign-in" not in answer.getheader("Location", "")
        if answer.status != 200 and not leads_on:
            raise BenchFailed(f"{path} was answered with {answer.status}")
        return seconds

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str], body: str | None = None
    ) -> http.client.HTTPResponse:
        try:
            self._connection.request(method, path, body, dict(headers))
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise BenchFailed(f"{method} {path} was not answered: {error!r}") from error
        return answer


def _reading(browser: Browser, path: str, names: Names) -> Callable[[int], Measurement]:
    def run(count: int) -> Measurement:
        seconds = [browser.read(path.format_map(names.drawn())) for _ in range(count)]
        return Measurement(count, sum(seconds), percentiles(seconds))

    return run
