"""The log of a service of another owner, whatever it answers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from projections.witnessing.judgement import NotWitnessed
from projections.witnessing.service_log import ServiceLog
from projections.witnessing.settings import WitnessedSettings


@contextmanager
def answering(status: int, body: bytes, **headers: str) -> Iterator[str]:
    """A service that gives one answer to every request. Yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


@pytest.mark.parametrize(
    "body",
    [
        b'{"own_size": 1e999}',
        b'{"own_size": "7"}',
        b'{"own_size": %s}' % (b"9" * 10_000),
        b"[" * 500_000,
        b"[]",
        b"\xff",
        b"",
    ],
    ids=["infinite", "text", "long", "deep", "list", "bytes", "empty"],
)
def test_an_answer_that_is_none_is_an_error_of_the_look(body: bytes) -> None:
    with answering(200, body) as url:
        log = ServiceLog("west", WitnessedSettings.model_validate({"url": url}))
        with pytest.raises(NotWitnessed, match="how far its own events go"):
            log.look(0)


def test_a_redirect_is_not_followed_and_a_long_answer_is_not_read() -> None:
    with answering(200, b'{"own_size": 1}' + b" " * 2 * 1024 * 1024) as elsewhere:
        with answering(302, b"", Location=elsewhere) as url:
            log = ServiceLog("west", WitnessedSettings.model_validate({"url": url}))
            with pytest.raises(NotWitnessed, match="answered 302"):
                log.look(0)
        log = ServiceLog("west", WitnessedSettings.model_validate({"url": elsewhere}))
        with pytest.raises(NotWitnessed, match="too long"):
            log.look(0)
