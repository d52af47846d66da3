"""A running placement whose installations can be taken away, for the tests of what spans them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import httpx2

from api.app import Application
from domain.placement.installations import Installation
from projections.process_managers.providers.settings import ProviderSettings
from tests.contract.answers import Checked
from tests.contract.serving import SECRET
from tests.databases import Databases
from tests.placements import Placement, placement_on
from tests.projecting import eventually

HOME, AWAY = "east", "west"


class Placed(NamedTuple):
    """A running placement of two installations, each on a database of its own."""

    placement: Placement
    databases: Databases

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """An installation out of reach meanwhile. It answers again at the end."""
        with self.databases.closed(self.placement.database(name)):
            yield
        with self.placement.client() as client:
            asked = {"installation": name}
            eventually(lambda: client.get("/v1/projections", params=asked).is_success)

    @contextmanager
    def client(self) -> Iterator[httpx2.Client]:
        """A client with every role on every ledger, whose every answer is checked."""
        with self.placement.client() as client:
            client.event_hooks = {"response": [Checked(Application().openapi(), is_placement=True)]}
            yield client


@contextmanager
def placed(databases: Databases, **more: Any) -> Iterator[Placed]:
    """A running service of two installations. Its payment provider answers nothing, and signs with `SECRET`."""
    with ExitStack() as stack:
        installations = [
            Installation(name, stack.enter_context(databases.installed())) for name in (HOME, AWAY)
        ]
        provider = ProviderSettings.model_validate({"url": "http://127.0.0.1:9", "secret": SECRET})
        running = placement_on(installations, providers={"simulator": provider}, **more)
        yield Placed(stack.enter_context(running), databases)
