"""The service over HTTP: one real server per worker of a run, with a projector. Each test has its own ledger.

Every answer is checked against the OpenAPI document and against the rules for all answers.
"""

from collections.abc import Iterator

import httpx2
import pytest

from scripts.simulator.server import Simulator
from tests.contract.books import Book, new_book
from tests.contract.callers import Keys
from tests.contract.journals import Journal
from tests.contract.mixtures import Mixture
from tests.contract.serving import Served, serving
from tests.databases import Databases
from tests.ledgers import running

HOMES = {"journal", "nothing_due", "nothing_paid", "mixture"}
"""Fixtures that work on the database of the service itself."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if "tests/contract" in item.path.as_posix():
            item.add_marker(pytest.mark.contract)


@pytest.fixture(scope="session")
def served(databases: Databases) -> Iterator[Served]:
    """The running service that the tests of this folder share."""
    with serving(databases) as running:
        yield running


@pytest.fixture(autouse=True)
def placed(request: pytest.FixtureRequest) -> None:
    """In a placement, the ledgers of a test that looks into the journal are at home, where it looks."""
    if "served" in request.fixturenames and (spread := request.getfixturevalue("served").spread):
        spread.is_spread = HOMES.isdisjoint(request.fixturenames)


@pytest.fixture(scope="session")
def session_client(served: Served) -> Iterator[httpx2.Client]:
    """A client with every role on every ledger."""
    with served.client() as client:
        yield client


@pytest.fixture
def client(session_client: httpx2.Client) -> httpx2.Client:
    """A client with every role on every ledger."""
    return session_client


@pytest.fixture
def book(client: httpx2.Client) -> Book:
    """A new ledger with two accounts, `a` and `b`, that may go below zero."""
    return new_book(client)


@pytest.fixture
def journal(served: Served) -> Iterator[Journal]:
    """The journal of the service."""
    with served.database.connect_as_owner("test owner") as connection:
        yield Journal(connection)


@pytest.fixture
def nothing_due(journal: Journal) -> Iterator[Journal]:
    """No work becomes due: acceptances are not carried out and holds not released until `due` is resumed."""
    journal.pause("due")
    yield journal
    journal.resume("due")


@pytest.fixture
def nothing_paid(journal: Journal) -> Iterator[Journal]:
    """No payout becomes due and no provider is called until `payouts` is resumed."""
    journal.pause("payouts")
    yield journal
    journal.resume("payouts")


@pytest.fixture
def simulator(served: Served) -> Simulator:
    """The provider the service knows."""
    return served.simulator


@pytest.fixture
def keys(served: Served, client: httpx2.Client) -> Iterator[Keys]:
    """Makes keys and clients for them."""
    made = Keys(served, client)
    yield made
    made.close()


@pytest.fixture
def mixture(served: Served, book: Book) -> Iterator[Mixture]:
    """A ledger with transactions of every kind."""
    with running(served.database) as ledger:
        made = Mixture(book, ledger)
        made.fill()
        yield made
