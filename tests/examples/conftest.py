"""The examples run against the real service, over a network that loses answers. Each test has its own ledger."""

from collections.abc import Iterator
from uuid import uuid4

import httpx2
import pytest

from tests.contract.serving import KEY, Served, serving
from tests.databases import Databases
from tests.examples.calling import Ledger
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
    """A ledger to be opened."""
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx2.Client(
        base_url=example_service.url, headers=headers, transport=network, timeout=30.0
    ) as http:
        yield Ledger(http, f"l{uuid4().hex[:12]}")
