"""Connections to a whole service, byte by byte, and what one client may do to another."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from urllib.parse import urlsplit

import psutil

from tests.service import Service

MAX_MEMORY_BYTES = 400 * 1024 * 1024
# What the API computes between a question and its answer. A busy machine prolongs the wait, but not this.
MAX_COMPUTED_SECONDS = 1.0
MAX_WAITED_SECONDS = 3.0

LAST = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def api(service: Service) -> psutil.Process:
    (found,) = service.processes("scripts.serving.processes", "api")
    return found


def connect(service: Service) -> socket.socket:
    address = urlsplit(service.url)
    return socket.create_connection((address.hostname or "", address.port or 80), timeout=30)


def answer_to(service: Service, *parts: bytes) -> bytes:
    """Send these bytes and return everything received until the connection ends."""
    received = b""
    with connect(service) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except OSError:
            pass  # the other side no longer reads
        try:
            while part := connection.recv(65536):
                received += part
        except OSError:
            pass
    return received


@contextmanager
def unharmed(service: Service) -> Iterator[None]:
    """Meanwhile another client is answered in time, and the API's memory stays bounded."""
    process = api(service)
    waited: list[float] = []
    computed: list[float] = []
    memory: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.01):
            before, began = computed_seconds(process), monotonic()
            assert b" 200 " in answer_to(service, LAST)[:20]
            waited.append(monotonic() - began)
            computed.append(computed_seconds(process) - before)
            memory.append(process.memory_info().rss)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        sleep(0.3)
        stop.set()
        asking.join()
    assert p99(computed) < MAX_COMPUTED_SECONDS
    assert p99(waited) < MAX_WAITED_SECONDS
    assert max(memory) < MAX_MEMORY_BYTES


def computed_seconds(process: psutil.Process) -> float:
    """The processor time that a process has used."""
    times = process.cpu_times()
    return times.user + times.system


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]
