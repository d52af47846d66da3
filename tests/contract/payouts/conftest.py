"""A separate service for payouts, because payers and callbacks go on after a test and would disturb other tests."""

from collections.abc import Iterator

import httpx2
import pytest

from scripts.simulator.faults import Script
from tests.contract.payouts.destinations import QUIET
from tests.contract.serving import Served, serving
from tests.databases import Databases


@pytest.fixture(scope="session")
def served(databases: Databases) -> Iterator[Served]:
    """The running service that the tests of this folder share."""
    with serving(databases) as running:
        running.simulator.faults.follow(Script(destination=QUIET, lose=True))
        yield running


@pytest.fixture(scope="session")
def session_client(served: Served) -> Iterator[httpx2.Client]:
    """A client with every role on every ledger."""
    with served.client() as client:
        yield client
