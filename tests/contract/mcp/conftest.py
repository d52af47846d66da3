"""Assistants of the service that the tests of this folder share: one that may only read, and one that may write."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.contract.mcp.assistants import Assistant, connected
from tests.contract.serving import Served
from tests.faulty_proxy import FaultyProxy


@pytest.fixture(scope="session")
def reader(served: Served) -> Iterator[Assistant]:
    """An assistant whose server was started without --allow-writes, with a key that may do everything."""
    with connected(served.url) as assistant:
        yield assistant


@pytest.fixture(scope="session")
def writer(served: Served) -> Iterator[Assistant]:
    """An assistant whose server was started with --allow-writes."""
    with connected(served.url, "--allow-writes") as assistant:
        yield assistant


@pytest.fixture(scope="session")
def proxy(served: Served) -> Iterator[FaultyProxy]:
    """A proxy before the service, initially without faults."""
    service = urlsplit(served.url)
    assert service.hostname and service.port
    with FaultyProxy(service.hostname, service.port) as listening:
        yield listening


@pytest.fixture(scope="session")
def proxied(proxy: FaultyProxy) -> Iterator[Assistant]:
    """An assistant that may write, with the proxy before the service."""
    with connected(proxy.url, "--allow-writes") as assistant:
        yield assistant


@pytest.fixture(scope="session")
def hurried(proxy: FaultyProxy) -> Iterator[Assistant]:
    """The same, whose requests have a second until their answers say that none came."""
    with connected(proxy.url, "--allow-writes", "--timeout-seconds", "1") as assistant:
        yield assistant
