"""Calls of the API from within the process, as the key with which a session acts.

A page reads and acts only through these. So the console can do nothing that a program cannot, sees nothing that its key
may not see, and leaves the same record.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote, urlencode

from starlette.types import ASGIApp, Message, Scope

from api.http.responses import JSON
from api.problems import ReadOnlyReplica
from api.service.replica import Replica

API = "/v1"


class Reply(NamedTuple):
    """What the API answered. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_refusal(self) -> bool:
        """Whether the answer is a problem."""
        return self.status >= 400

    @property
    def content(self) -> Any:
        """The body, parsed from JSON; None if it is empty."""
        return json.loads(self.body) if self.body else None

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    @property
    def position(self) -> int | None:
        """The position that the answer reflects, if it says so."""
        return _whole(self.headers.get("ledger-position"))

    @property
    def installation(self) -> str | None:
        """The installation of a placement that answered, None without a placement."""
        return self.headers.get("ledger-installation")

    @property
    def head(self) -> int | None:
        """The newest position of the journal at that time, if the answer says so."""
        return _whole(self.headers.get("ledger-head"))


class Refused(Exception):
    """The API refused what a page asked for. `reply` is the problem."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class NeedsPrimary(Exception):
    """A browser asks a replica for something that only the primary can do, and the replica passes such things on."""

    def __init__(self, replica: Replica) -> None:
        super().__init__()
        self.replica = replica


def require_primary(replica: Replica) -> NoReturn:
    """Leave a request to the primary: raise `NeedsPrimary`, or `ReadOnlyReplica` if nothing is passed on."""
    if replica.forwards:
        raise NeedsPrimary(replica)
    raise replica.refusal()


class Inside:
    """The API, as one session calls it during one request of the browser."""

    def __init__(self, scope: Scope, token: str) -> None:
        """`scope` is the browser's request. Calls carry its correlation id and trace context."""
        self._scope = scope
        self._token = token

    async def get(self, path: str, /, **query: Any) -> Reply:
        """Read from the API; raise `Refused`. Parameters that are None are left out."""
        return granted(await self.call("GET", path, query=query))

    async def look(self, path: str, /, **query: Any) -> Reply:
        """Read from the API. A refusal is returned as well."""
        return await self.call("GET", path, query=query)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        base: str = API,
    ) -> Reply:
        """Call a path below `/v1`, such as `/ledgers/main`; return the answer, whatever it is. Raises `NeedsPrimary`.

        `path` is as it reads: it is escaped here. Routes outside `/v1`, such as `/metrics`, have the base "".
        """
        sent = b"" if body is None else json.dumps(body).encode()
        given = {name: value for name, value in (query or {}).items() if value is not None}
        inner = self._inner_scope(method, base + path, given, sent, headers or {})
        reply = await _ask(self._scope["app"], inner, sent)
        replica: Replica | None = self._scope["state"]["service"].replica
        if replica is not None and replica.forwards and reply.status == ReadOnlyReplica.status:
            raise NeedsPrimary(replica)
        return reply

    def _inner_scope(
        self, method: str, path: str, query: Mapping[str, Any], sent: bytes, headers: Mapping[str, str]
    ) -> Scope:
        talk = self._scope["head"].conversation
        named = {
            "correlation-id": talk.correlation_id,
            "traceparent": talk.traceparent,
            **({"content-type": JSON, "content-length": str(len(sent))} if sent else {}),
            **headers,
        }
        return {
            **{
                name: self._scope[name] for name in ("type", "asgi", "http_version", "scheme", "app", "state")
            },
            "session": self._token,
            "method": method,
            "path": path,
            "raw_path": quote(path, safe="/:@!$&'()*+,;=~").encode(),
            "root_path": "",
            "query_string": urlencode(query).encode(),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in named.items()],
        }


async def _ask(app: ASGIApp, scope: Scope, sent: bytes) -> Reply:
    head: Message = {}
    parts: list[bytes] = []
    request = [{"type": "http.request", "body": sent}]

    async def receive() -> Message:
        if request:
            return request.pop()
        # A streamed answer listens for the client's end, which here comes only with the answer's own.
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nothing ends this wait but its cancellation")

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            head.update(message)
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head["headers"]}
    return Reply(head["status"], headers, b"".join(parts))


def granted(reply: Reply) -> Reply:
    """Return an answer that is no refusal; raise `Refused`."""
    if reply.is_refusal:
        raise Refused(reply)
    return reply


def _whole(text: str | None) -> int | None:
    return None if text is None else int(text)
