"""One pair of servers for each module."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.contract.books import Book, new_book
from tests.integration.replicas.pairs import Pair, caller, paired


@pytest.fixture(scope="module")
def pair(module_path: Path) -> Iterator[Pair]:
    with paired(module_path) as made:
        yield made


@pytest.fixture
def primary(pair: Pair) -> Iterator[httpx2.Client]:
    with pair.served.client() as client:
        yield client


@pytest.fixture
def book(primary: httpx2.Client) -> Book:
    return new_book(primary)


@pytest.fixture
def forwarding(pair: Pair) -> Iterator[httpx2.Client]:
    """A client of the replica that passes on. Each answer is held against the document."""
    with caller(pair.forwarding) as client:
        client.event_hooks = {"response": [pair.served.checked]}
        yield client


@pytest.fixture
def refusing(pair: Pair) -> Iterator[httpx2.Client]:
    """A client of the replica that refuses. Each answer is held against the document."""
    with caller(pair.refusing) as client:
        client.event_hooks = {"response": [pair.served.checked]}
        yield client
