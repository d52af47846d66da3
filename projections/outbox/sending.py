"""One attempt: a request to a receiver that may be slow, broken or hostile.

Redirects are not followed, answers are read up to a limit, and everything has a time limit. Connections are made only
to addresses that were checked, whatever the name led to before or leads to now. The status line and the headers are the
receiver's answer. The body means nothing: it is read only so that the connection can be used again, and an error in it
does not change the answer.
"""

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any

import httpcore2

from projections.exact_answers import AnswerBytes
from projections.outbox.destinations import Policy, addresses_of
from projections.outbox.schedule import AttemptAnswer

MAX_ANSWER_BYTES = 65_536
MAX_REASON_LENGTH = 500
MAX_DATE_LENGTH = 64
BODY_TIMEOUT_SECONDS = 2.0
CONNECT_TIMEOUT_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 30.0
MAX_IDLE_CONNECTIONS = 64
MAX_LOOKUPS = 32

# With these errors there was no connection, so the request was not sent.
_NOT_SENT = (httpcore2.ConnectError, httpcore2.ConnectTimeout, httpcore2.PoolTimeout)


class AddressRefused(httpcore2.ConnectError):
    """The receiver's name leads to no address that may be connected to."""


class Sender:
    """Makes requests, at most `max_connections` at once. Use it as an asynchronous context."""

    def __init__(self, policy: Policy, timeout_seconds: float, max_connections: int) -> None:
        """`timeout_seconds` applies to a whole attempt, from looking up the name to the end of the answer."""
        self._timeout_seconds = timeout_seconds
        self._network = JudgedNetwork(policy)
        self._pool = httpcore2.AsyncConnectionPool(
            max_connections=max_connections,
            max_keepalive_connections=MAX_IDLE_CONNECTIONS,
            keepalive_expiry=KEEP_ALIVE_SECONDS,
            network_backend=self._network,
        )

    async def __aenter__(self) -> "Sender":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.aclose()
        self._network.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> AttemptAnswer:
        """Send one request; return how it ended. Raises nothing except on cancellation."""
        timeouts = {"connect": CONNECT_TIMEOUT_SECONDS, "pool": self._timeout_seconds}
        sent: list[tuple[bytes | str, bytes | str]] = list(headers.items())
        answer = None
        try:
            async with (
                asyncio.timeout(self._timeout_seconds),
                self._pool.stream(
                    "POST", url, headers=sent, content=body, extensions={"timeout": timeouts}
                ) as response,
            ):
                answer = _answer(response)
                async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
                    await _read_some(response)
        except TimeoutError:
            return answer or AttemptAnswer(
                None, f"no answer within {self._timeout_seconds:g} s", is_in_doubt=True
            )
        except Exception as error:  # noqa: BLE001  whatever the receiver does, the attempt has an end
            return answer or AttemptAnswer(
                None, _describe(error), is_in_doubt=not isinstance(error, _NOT_SENT)
            )
        return answer


class JudgedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to the addresses of a name that the policy admits, one after the other until one answers."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._network = httpcore2.AnyIOBackend()
        # Threads of its own: looking up a name can hang for long and cannot be cancelled.
        self._threads = ThreadPoolExecutor(MAX_LOOKUPS, "look up")
        self._lookups: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    def close(self) -> None:
        """Release the threads, even those that hang."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Return a connection. Raises `AddressRefused`, or `ConnectError` or `ConnectTimeout` for the last failure."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._look_up(host, port)
                admitted = [address for address in addresses if self._policy.admits(address)]
                if not admitted:
                    raise AddressRefused(f"{host} leads into a private network, or to no public address")
                return CountingStream(await self._connect(admitted, port, socket_options))
        except TimeoutError:
            raise httpcore2.ConnectTimeout(f"no connection within {timeout:g} s") from None

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def _connect(
        self, addresses: list[str], port: int, socket_options: Iterable[Any] | None
    ) -> httpcore2.AsyncNetworkStream:
        *others, last = addresses
        for address in others:
            try:
                return await self._network.connect_tcp(address, port, socket_options=socket_options)
            except httpcore2.ConnectError:
                continue
        return await self._network.connect_tcp(last, port, socket_options=socket_options)

    async def _look_up(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host. Each host has one look-up at a time, so a hanging one blocks one thread."""
        place = (host, port)
        looking = self._lookups.get(place)
        if looking is None:
            loop = asyncio.get_running_loop()
            looking = self._lookups[place] = loop.run_in_executor(self._threads, addresses_of, host, port)
            looking.add_done_callback(lambda _: self._lookups.pop(place, None))
        try:
            return await asyncio.shield(looking)
        except OSError as error:
            raise httpcore2.ConnectError(f"{host} cannot be found: {error.strerror or error}") from error


class CountingStream(httpcore2.AsyncNetworkStream):
    """A connection that is not reused after an answer with a wrong length (`projections/exact_answers.py`)."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self._answer = AnswerBytes()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return bytes of an answer, none at its end."""
        data = await self._stream.read(max_bytes, timeout)
        self._answer.received(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes of a request."""
        self._answer.request_sent()
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """Return the connection, encrypted."""
        return CountingStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """Return what is known of the connection."""
        if info == "is_readable" and not self._answer.is_exact:
            return True
        return self._stream.get_extra_info(info)


def _answer(response: httpcore2.Response) -> AttemptAnswer:
    status = response.status
    if 200 <= status < 300:
        return AttemptAnswer(status)
    reason = "redirects are not followed" if 300 <= status < 400 else f"answered {status}"
    wanted = next((value for name, value in response.headers if name.lower() == b"retry-after"), None)
    return AttemptAnswer(status, reason, retry_after_seconds=None if wanted is None else retry_after(wanted))


async def _read_some(response: httpcore2.Response) -> None:
    """Read the answer to its end, so that the connection can be used again, unless it is too long."""
    length = 0
    async for chunk in response.aiter_stream():
        length += len(chunk)
        if length > MAX_ANSWER_BYTES:
            return


def retry_after(value: bytes) -> float | None:
    """Return how many seconds a Retry-After header asks for, None if it is invalid."""
    text = value.decode("latin-1").strip()
    if text.isdecimal() and text.isascii():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text[:MAX_DATE_LENGTH])
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (aware - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError, LookupError):
        return None


def _describe(error: Exception) -> str:
    """Return an error as text that PostgreSQL can store: without U+0000 and lone surrogates."""
    words = str(error) or type(error).__name__
    return words.replace("\0", "").encode("utf-8", "replace").decode()[:MAX_REASON_LENGTH]
