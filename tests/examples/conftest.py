"""The examples run against the real service, over a network that loses answers. Each test has its own ledger."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from api.client import Policy
from api.client.synchronous import Ledger, Tallystick
from tests.contract.serving import KEY, Served, serving
from tests.databases import Databases
from tests.examples.lost_answers import LosingAnswers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if "tests/examples" in item.path.as_posix():
            item.add_marker(pytest.mark.contract)


@pytest.fixture(scope="session")
def example_service(databases: Databases) -> Iterator[Served]:
    """The service that the examples share."""
    with serving(databases) as served:
        yield served


@pytest.fixture
def network() -> LosingAnswers:
    """The network between the example and the service."""
    return LosingAnswers()


@pytest.fixture
def ledger(example_service: Served, network: LosingAnswers) -> Iterator[Ledger]:
    """A new ledger."""
    with Tallystick(example_service.url, KEY, Policy(first_pause_seconds=0.001), transport=network) as tally:
        yield tally.open_ledger(f"l{uuid4().hex[:12]}")
