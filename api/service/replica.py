"""What a service that only reads knows of its primary, and the connections to it."""

from httpx2 import AsyncBaseTransport, AsyncHTTPTransport, Limits, Request, Response

from api.problems import ReadOnlyReplica

LIMITS = Limits(max_connections=256, max_keepalive_connections=64, keepalive_expiry=30.0)
"""A server closes a connection without a request after 65 s, so none is used that is just being closed."""

PRIMARY = "Ledger-Primary"
"""The header that names the primary's address."""


class Replica:
    """A service that answers from a copy what a copy can answer. The rest it refuses, or passes on to the primary."""

    def __init__(
        self, primary_url: str, *, forwards: bool, max_replay_lag_seconds: float | None = None
    ) -> None:
        """`primary_url` is empty if nobody said where the primary is. `forwards` needs it."""
        self.primary_url = primary_url
        self.max_replay_lag_seconds = max_replay_lag_seconds
        self._transport: AsyncBaseTransport | None = AsyncHTTPTransport(limits=LIMITS) if forwards else None

    @property
    def forwards(self) -> bool:
        """Whether requests that the copy may not answer are passed on to the primary."""
        return self._transport is not None

    def refusal(self, detail: str | None = None) -> ReadOnlyReplica:
        """Return the refusal of a request that only the primary may answer."""
        if not self.primary_url:
            return ReadOnlyReplica(detail)
        refused = ReadOnlyReplica(detail, {PRIMARY: self.primary_url})
        refused.details["primary"] = self.primary_url
        return refused

    async def send(self, request: Request) -> Response:
        """Send a request to the primary once; return its answer, whose body is still to be read.

        Raises `httpx2.TransportError` if there is none.
        """
        assert self._transport is not None
        return await self._transport.handle_async_request(request)

    async def close(self) -> None:
        """Close the connections to the primary."""
        if self._transport is not None:
            await self._transport.aclose()
