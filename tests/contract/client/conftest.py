"""The network between the client and the service, which loses things on demand, and a ledger for each test."""

from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.contract.serving import Served
from tests.faulty_proxy import FaultyProxy


@pytest.fixture
def name() -> str:
    """The name of a ledger that no other test has."""
    return f"l{uuid4().hex[:12]}"


@pytest.fixture
def proxy(served: Served) -> Iterator[FaultyProxy]:
    """A proxy before the service, initially without faults."""
    service = urlsplit(served.url)
    assert service.hostname and service.port
    with FaultyProxy(service.hostname, service.port) as listening:
        yield listening
