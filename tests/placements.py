"""A placement for tests: several installations behind one address, each a schema of the test's database."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import httpx2
from pydantic import SecretStr

from api.app import create_app
from api.security.keys import ensure_bootstrap_key
from api.settings import InstallationSettings, Settings
from domain.journal.database import Database
from domain.journal.migrations import migrate
from domain.placement.installations import Installation
from domain.placement.ledger_map import enter, held
from projections.registry import install
from projections.running.projector import run_projector
from tests.contract.serving import KEY, listening, running_server


class Placement(NamedTuple):
    """A running placement: its address, and its installations, home first."""

    url: str
    installations: Sequence[Installation]

    def client(self, key: str | None = KEY) -> httpx2.Client:
        """A client of the one service. With `key` None it sends no key."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=30.0, trust_env=False, verify=False)

    def database(self, name: str) -> Database:
        """The database of an installation."""
        return next(found.database for found in self.installations if found.name == name)


def beside(database: Database, *names: str) -> Sequence[Installation]:
    """Installations on one database, each in a schema of its own; the first in the database's own."""
    first, *others = names
    return (
        Installation(first, database),
        *(Installation(name, database._replace(schema=f"{database.schema}_{name}")) for name in others),
    )


def prepared(installations: Sequence[Installation]) -> None:
    """Migrate every installation, and enter the ledgers of each into the map of the first."""
    home = installations[0].database
    for name, database in installations:
        migrate(database)
        install(database)
        with database.connect("test") as connection, home.connect("test") as of_home:
            enter(of_home, name, held(connection))


def setting_of(installations: Sequence[Installation]) -> dict[str, dict[str, str]]:
    """What TALLYSTICK_INSTALLATIONS says of these installations, before it is made JSON."""
    return {
        name: {"database_url": database.url, "schema": database.schema} for name, database in installations
    }


def environment_of(installations: Sequence[Installation]) -> dict[str, str]:
    """The environment that makes `tallystick` work on these installations."""
    return {"TALLYSTICK_INSTALLATIONS": json.dumps(setting_of(installations))}


def settings_of(installations: Sequence[Installation], **more: Any) -> Settings:
    """The settings of a process that serves these installations."""
    named = {
        name: InstallationSettings.model_validate(given) for name, given in setting_of(installations).items()
    }
    return Settings(installations=named, bootstrap_key=SecretStr(KEY), **more)


@contextmanager
def placement_on(installations: Sequence[Installation], **more: Any) -> Iterator[Placement]:
    """A running service over prepared installations, with a projector for each."""
    settings = settings_of(installations, **more)
    ensure_bootstrap_key(installations[0].database, settings.bootstrap_key)
    stop = threading.Event()
    projectors = [
        threading.Thread(target=run_projector, args=(database, stop)) for _, database in installations
    ]
    with ExitStack() as stack:
        for projector in projectors:
            projector.start()
            stack.callback(projector.join)
        stack.callback(stop.set)
        bound = stack.enter_context(listening())
        url = stack.enter_context(running_server(create_app(settings), bound))
        yield Placement(url, installations)
