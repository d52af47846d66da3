"""Single transfers over HTTP: the service as `tallystick serve` runs it, beside a bare route."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from secrets import token_urlsafe

from domain.ledger import Ledger
from scripts.bench.books import balanced_books
from scripts.bench.figures import Contestant, Reading
from scripts.bench.installation import installation
from scripts.bench.load import Plan, run_load
from scripts.bench.servers import bare_route, service
from scripts.bench.stages import Stage
from scripts.bench.transfers import open_accounts

UNIT = "requests/s"
CONNECTIONS = 64
WARM_UP_REQUESTS = 2_000
MOST_REQUESTS = 100_000


@contextmanager
def over_http(url: str, accounts: int) -> Iterator[Stage]:
    """The stage of HTTP: both servers run all the while, and one at a time has something to do."""
    with installation(url) as database:
        ledger = Ledger(database)
        ledger.start()
        try:
            open_accounts(ledger, accounts)
        finally:
            ledger.close()
        key = "tk_" + token_urlsafe(32)
        with service(database, key) as port, bare_route() as bare_port:
            served, bare = HttpLoad(port, key, accounts), HttpLoad(bare_port, key, accounts)
            contestants = (
                Contestant("http", UNIT, served.run, WARM_UP_REQUESTS, MOST_REQUESTS),
                Contestant("bare-route", UNIT, bare.run, WARM_UP_REQUESTS, MOST_REQUESTS),
            )
            yield Stage(contestants, lambda: balanced_books(database, served.acknowledged))


class HttpLoad:
    """The load on one server; no two runs send the same request."""

    def __init__(self, port: int, key: str, accounts: int) -> None:
        self._port = port
        self._key = key
        self._accounts = accounts
        self._seeds = count(1)
        self.acknowledged = 0
        """How many requests were answered 201 so far."""

    def run(self, requests: int) -> Reading:
        """Send so many requests and time them."""
        plan = Plan(self._port, self._key, CONNECTIONS, requests, self._accounts, next(self._seeds))
        reading = run_load(plan)
        self.acknowledged += reading.units
        return reading
