"""An application that fails after the head of an answer: the client is answered or cut off, and never left waiting."""

import socket
from functools import partial
from threading import Thread
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from scripts.serving.connection_limits import Connections
from scripts.serving.http_protocol import WholeAnswers
from tests.contract.serving import listening
from tests.projecting import eventually

pytestmark = pytest.mark.integration

HEAD: Any = {"type": "http.response.start", "status": 201, "headers": [(b"content-length", b"100")]}


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    """Fail after the head, or after a part of the body if the path asks for one."""
    await send(HEAD)
    if scope["path"] == "/part":
        await send({"type": "http.response.body", "body": b"a part", "more_body": True})
    raise RuntimeError("the application failed")


def answer(port: int, path: str) -> bytes:
    """Everything that the server sends until it closes the connection or has answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_failure_after_the_head_ends_the_exchange() -> None:
    with listening() as bound:
        protocol = cast(Any, partial(WholeAnswers, Connections(10)))
        config = uvicorn.Config(fails, http=protocol, lifespan="off", log_level="critical")
        server = uvicorn.Server(config)
        serving = Thread(target=server.run, args=([bound],))
        serving.start()
        try:
            eventually(lambda: server.started)
            port = bound.getsockname()[1]
            assert answer(port, "/").startswith(b"HTTP/1.1 500 ")
            assert answer(port, "/part").endswith(b"\r\n\r\na part")
        finally:
            server.should_exit = True
            serving.join()
