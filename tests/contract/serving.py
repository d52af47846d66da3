"""A running service for the tests of this folder, with a projector and a payment provider."""

import json
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from time import monotonic, sleep
from typing import Any, NamedTuple
from zlib import crc32

import httpx2
import uvicorn
from pydantic import SecretStr

from api.app import Application, create_app
from api.security.keys import ensure_bootstrap_key
from api.settings import Settings
from domain.journal.database import Database
from domain.journal.migrations import migrate
from domain.model.streams import is_ledger_name
from domain.placement.ledger_map import LedgerMap
from projections.process_managers.providers.settings import ProviderSettings
from projections.registry import PROJECTIONS, install
from projections.running.projector import run_projector
from scripts.serving.simulator_beside import listen
from scripts.simulator.callbacks import Callbacks
from scripts.simulator.faults import Faults, Rates
from scripts.simulator.server import Simulator
from tests.contract.answers import Checked
from tests.databases import Databases
from tests.standbys import copy_of, is_of_placement, is_of_replica

KEY = "tk_the_key_of_the_tests_of_the_contract"


SECRET = "whsec_" + b64encode(b"the secret of the tests of the contract").decode()
"""The secret that signs providers' callbacks."""


START_TIMEOUT_SECONDS = 20.0


class Served(NamedTuple):
    """A service under test: its database, its address, the check of its answers, its payment provider, and its
    settings."""

    database: Database
    url: str
    checked: "Checked"
    simulator: Simulator
    settings: Settings
    spread: "Spread | None" = None

    def holder(self, ledger: str) -> Database:
        """The database of the installation that holds a ledger, which in a placement need not be home's."""
        return self.spread.holder(ledger) if self.spread else self.database

    @contextmanager
    def at_home(self) -> Iterator[None]:
        """Ledgers that are opened meanwhile are held by home, also in a placement."""
        if self.spread is None:
            yield
            return
        was_spread, self.spread.is_spread = self.spread.is_spread, False
        try:
            yield
        finally:
            self.spread.is_spread = was_spread

    def client(self, key: str | None = KEY) -> httpx2.Client:
        """A client whose every answer is checked. With `key` None it sends no key."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx2.Client(
            base_url=self.url,
            headers=headers,
            timeout=30.0,
            trust_env=False,
            verify=False,  # it speaks no TLS, and reading the system's certificates takes 20 ms a client
            event_hooks={"request": [self.spread.address] if self.spread else [], "response": [self.checked]},
        )


@contextmanager
def serving(databases: Databases, **settings: Any) -> Iterator[Served]:
    """A running service with a projector, on its own database. `settings` are those that differ from the usual ones."""
    with databases.installed() as database, serving_on(database, **settings) as running:
        yield running


@contextmanager
def serving_on(database: Database, **more: Any) -> Iterator[Served]:
    """A running service with a projector on a database."""
    bound = listening()
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    simulator = Simulator(
        listen(0), Faults(0, Rates()), Callbacks(f"{url}/v1/providers/simulator/callbacks", SECRET)
    )
    simulator.start()
    provider = {"url": simulator.url, "secret": SECRET, "timeout_seconds": 1.0}
    spread = Spread(database) if is_of_placement() else None
    if spread:
        more["installations"] = spread.setting
    settings = Settings(
        database_url=database.url,
        schema_=database.schema,
        bootstrap_key=SecretStr(KEY),
        providers={"simulator": ProviderSettings.model_validate(provider)},
        **more,
    )
    ensure_bootstrap_key(database, settings.bootstrap_key)
    stop = threading.Event()
    projectors = [
        threading.Thread(target=run_projector, args=(placed, stop, tuple(PROJECTIONS.values())))
        for placed in (database, *([spread.other] if spread else []))
    ]
    with ExitStack() as stack:
        stack.callback(simulator.stop)
        for projector in projectors:
            projector.start()
            stack.callback(projector.join)
        stack.callback(stop.set)
        stack.enter_context(bound)
        stack.enter_context(running_server(create_app(settings), bound))
        front = stack.enter_context(_front(settings, url))
        yield Served(database, front, _checked(is_placement=spread is not None), simulator, settings, spread)


class Spread:
    """Two installations on the database of a test. Every other ledger is held by the one that is not home."""

    def __init__(self, database: Database) -> None:
        self.home = database
        self.other = database._replace(schema=f"{database.schema}_other")
        self.is_spread = True
        self.setting = {"home": {}, "other": {"schema": self.other.schema}}
        migrate(self.other)
        install(self.other)

    def address(self, request: httpx2.Request) -> None:
        """Address a request as a client of a placement would, whom the tests of one installation need not know.

        A ledger that is about to be opened is entered into the map, as its name decides. A webhook is registered where
        its first ledger is, and projections are those of home.
        """
        method, path = request.method, request.url.path
        if (method, path) == ("POST", "/v1/ledgers"):
            self._place(request)
        elif "installation" not in request.url.params and path.startswith("/v1/projections/"):
            request.url = request.url.copy_merge_params({"installation": "home"})
        elif (method, path) == ("POST", "/v1/webhooks") and "installation" not in request.url.params:
            request.url = request.url.copy_merge_params({"installation": self._holder(request)})

    def _holder(self, request: httpx2.Request) -> str:
        """Return where the first ledger is that a webhook is to tell of, home if there is none."""
        with suppress(ValueError, TypeError, KeyError, IndexError), self.home.connect("test") as home:
            return LedgerMap().find(home, str(json.loads(request.content)["ledgers"][0])) or "home"
        return "home"

    def holder(self, ledger: str) -> Database:
        """The database of the installation that holds a ledger."""
        with self.home.connect("test") as home:
            return self.other if LedgerMap().find(home, ledger) == "other" else self.home

    def _place(self, request: httpx2.Request) -> None:
        with suppress(ValueError, TypeError, KeyError, AttributeError):  # a request that is to be refused
            name = json.loads(request.content)["name"]
            if is_ledger_name(name):
                with self.home.connect("test") as home:
                    is_other = self.is_spread and crc32(name.encode()) % 2
                    LedgerMap().claim(home, name, "other" if is_other else "home")


@contextmanager
def _front(of_primary: Settings, url: str) -> Iterator[str]:
    """The address that callers know: that of the primary or, if the topology says so, of a replica before it."""
    if not is_of_replica():
        yield url
        return
    with replica_of(of_primary, url, copy_of(of_primary.database), forward=True) as front:
        yield front


@contextmanager
def replica_of(of_primary: Settings, url: str, copy: Database, **more: Any) -> Iterator[str]:
    """A service that only reads a copy, in this process. `url` is where the primary is. Yields its address."""
    settings = of_primary.model_copy(
        update={"database_url": copy.url, "read_only": True, "primary_url": url, **more}
    )
    with listening() as bound, running_server(create_app(settings), bound) as address:
        yield address


@cache
def _checked(*, is_placement: bool) -> Checked:
    # All services of a release have one document, and to read its schemas takes longer than most tests.
    return Checked(Application().openapi(), is_placement=is_placement)


def listening() -> socket.socket:
    """A socket bound to a free port on loopback."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


@contextmanager
def running_server(app: Application, bound: socket.socket) -> Iterator[str]:
    """A real server in a thread. Yields its address once it answers."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on"))
    serving = threading.Thread(target=server.run, args=([bound],))
    serving.start()
    try:
        _await(lambda: server.started)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        serving.join()


def _await(condition: Callable[[], bool]) -> None:
    give_up_at = monotonic() + START_TIMEOUT_SECONDS
    while not condition():
        assert monotonic() < give_up_at, "the server does not start"
        sleep(0.01)
