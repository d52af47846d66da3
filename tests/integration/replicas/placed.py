"""A placement of two installations, and services that only read copies of them on standbys.

A service may read a primary as well. So one that reads one installation there and the other on a standby, which does
not replay meanwhile, has copies of different instants.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx2

from api.app import Application, create_app
from domain.journal.database import Database
from domain.placement.installations import Installation
from domain.placement.mover import Mover
from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.contract.answers import Checked
from tests.contract.serving import KEY, listening, running_server
from tests.integration.replicas.pairs import Servers, servers
from tests.ledgers import CONTEXT
from tests.placements import Placement, beside, placement_on, prepared, settings_of

NAMES = HOME, OTHER = "east", "west"


class PlacedCopies(NamedTuple):
    """The servers of each installation, which may be the same, and the running service of the primaries."""

    of_each: Mapping[str, Servers]
    placement: Placement
    checked: Checked

    @property
    def servers(self) -> Servers:
        """The servers of home."""
        return self.of_each[HOME]

    @contextmanager
    def replica(
        self, copied: Collection[str] = NAMES, databases: dict[str, Database] | None = None, **more: Any
    ) -> Iterator[httpx2.Client]:
        """A client of a service that only reads: those that are `copied` on the standby, the others on the primary.

        `databases` are where it reads some of them instead. Every answer is held against the document.
        """
        read = [
            Installation(name, (databases or {}).get(name) or self.copy(name) if name in copied else database)
            for name, database in self.placement.installations
        ]
        settings = settings_of(read, read_only=True, primary_url=self.placement.url, **more)
        with (
            listening() as bound,
            running_server(create_app(settings), bound) as url,
            self._client(url) as client,
        ):
            yield client

    def copy(self, name: str) -> Database:
        """The copy of an installation on the standby."""
        return self.placement.database(name)._replace(url=self.of_each[name].standby.superuser_url)

    @contextmanager
    def primary(self) -> Iterator[httpx2.Client]:
        """A client of the service of the primaries."""
        with self._client(self.placement.url) as client:
            yield client

    def move(self, ledger: str, old: str, new: str) -> None:
        """Move a ledger."""
        left, right = (Installation(name, self.placement.database(name)) for name in (old, new))
        Mover(ledger, left, right, CONTEXT).run()

    def _client(self, url: str) -> httpx2.Client:
        return httpx2.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=60.0,
            trust_env=False,
            verify=False,
            event_hooks={"response": [self.checked]},
        )


def _installations(primary: EmbeddedPostgres) -> list[Installation]:
    return list(beside(Database(primary.superuser_url), *NAMES))


@contextmanager
def placed_copies(folder: Path) -> Iterator[PlacedCopies]:
    """A running placement on one server that a standby follows."""
    with ExitStack() as stack:
        both = stack.enter_context(servers(folder, lambda primary: prepared(_installations(primary))))
        yield stack.enter_context(_served(_installations(both.primary), dict.fromkeys(NAMES, both)))


@contextmanager
def copies_apart(folder: Path) -> Iterator[PlacedCopies]:
    """A running placement whose installations have a server each, and a standby each."""
    with ExitStack() as stack:
        of_each = {}
        for name in NAMES:
            (folder / name).mkdir()
            of_each[name] = stack.enter_context(servers(folder / name))
        installations = [
            Installation(name, Database(both.primary.superuser_url)) for name, both in of_each.items()
        ]
        yield stack.enter_context(_served(installations, of_each))


@contextmanager
def _served(installations: Sequence[Installation], of_each: Mapping[str, Servers]) -> Iterator[PlacedCopies]:
    with placement_on(installations) as placement:
        yield PlacedCopies(of_each, placement, Checked(Application().openapi(), is_placement=True))


def opened(client: httpx2.Client, installation: str) -> str:
    """Open a ledger with the accounts `a` and `b` in an installation; return its name."""
    name = f"book-{uuid4().hex[:12]}"
    answer = client.post("/v1/ledgers", json={"name": name, "installation": installation})
    assert answer.status_code == 201, answer.text
    for address in ("a", "b"):
        account = {"address": address, "asset": "USD/2", "normal_side": "credit"}
        assert client.post(f"/v1/ledgers/{name}/accounts", json=account).status_code == 201
    return name
