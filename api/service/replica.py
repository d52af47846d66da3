"""What a service that only reads knows of its primary, and the connections to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from httpx2 import AsyncBaseTransport, AsyncHTTPTransport, Limits, Request, Response, TransportError

from api.problems import ReadOnlyReplica
from domain.journal.outage import Outage

LIMITS = Limits(max_connections=256, max_keepalive_connections=64, keepalive_expiry=30.0)
"""A server closes a connection without a request after 65 s, so none is used that is just being closed."""

ANNOUNCE_SECONDS = 0.5
"""How long after a read was announced to the primary, at least, another of the same route is."""

ASK_SECONDS = 5.0
"""How long the primary may take to answer what the copy denies. After that the denial stands."""

MAX_ASKED = 16
"""How many reads that the copy denies are put to the primary at once. They are few, so that whoever asks for much that
does not exist leaves the primary, and the connections to it, to others."""

_PART = "passing on"
_ROUND = "coming round"


class Replica:
    """A service that answers from a copy what a copy can answer. The rest it refuses, or passes on to the primary."""

    def __init__(
        self,
        primary_url: str,
        *,
        forwards: bool,
        max_replay_lag_seconds: float | None = None,
    ) -> None:
        """`primary_url` is empty if nobody said where the primary is. `forwards` needs it.

        In a placement there is one primary's service for all installations.
        """
        self.primary_url = primary_url
        self.max_replay_lag_seconds = max_replay_lag_seconds
        self._transport: AsyncBaseTransport | None = AsyncHTTPTransport(limits=LIMITS) if forwards else None
        self._primary = Outage(f"primary {primary_url}")
        self._announce_at: dict[str, float] = {}
        self._announcing: dict[str, asyncio.Task[None]] = {}
        self._asking = asyncio.Semaphore(MAX_ASKED)

    @property
    def forwards(self) -> bool:
        """Whether requests that the copy may not answer are passed on to the primary."""
        return self._transport is not None

    def refusal(self, detail: str | None = None) -> ReadOnlyReplica:
        """Return the refusal of a request that only the primary may answer."""
        return ReadOnlyReplica(detail, self.primary_url)

    async def send(self, request: Request) -> Response:
        """Send a request to the primary once; return its answer, whose body is still to be read.

        Raises `httpx2.TransportError` if there is none, and logs why: the caller is not told.
        """
        assert self._transport is not None
        try:
            response = await self._transport.handle_async_request(request)
        except TransportError as error:
            self._primary.lost(_PART, error)
            raise
        self._primary.back(_PART)
        return response

    def note_who_answers(self, *, is_replica: bool) -> None:
        """Note whether a replica answers at the primary's address. If one does, log it as if nobody did."""
        if is_replica:
            self._primary.lost(_ROUND, ConnectionError("a service that only reads answers there"))
        else:
            self._primary.back(_ROUND)

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Be one of the few who ask the primary for what the copy denies.

        Raises `TimeoutError` if that is not possible in time.
        """
        async with asyncio.timeout(ASK_SECONDS):
            await self._asking.acquire()
        try:
            yield
        finally:
            self._asking.release()

    def may_announce(self, route: str) -> bool:
        """Tell whether a read of a route may be announced now, and count it as announced.

        Not while one still waits at the primary: that one wants the rows of the same projection, and each takes a
        connection.
        """
        now = monotonic()
        may = route not in self._announcing and now >= self._announce_at.get(route, 0.0)
        if may:
            self._announce_at[route] = now + ANNOUNCE_SECONDS
        return may

    def announce(self, route: str, read: Request) -> None:
        """Let the primary know that somebody waits here, by reading there as well. The answer is dropped."""
        announcing = self._announcing[route] = asyncio.ensure_future(self._announced(read))
        announcing.add_done_callback(lambda _: self._announcing.pop(route, None))

    async def _announced(self, read: Request) -> None:
        try:
            response = await self.send(read)
            await response.aclose()
        except TransportError:
            pass  # the waiting read goes on here

    async def close(self) -> None:
        """Close the connections to the primary."""
        for announcing in tuple(self._announcing.values()):
            announcing.cancel()
        if self._transport is not None:
            await self._transport.aclose()
