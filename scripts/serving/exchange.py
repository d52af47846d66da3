"""A request and its answer. A small answer is checked as a whole and sent in one write.

uvicorn checks each field of an answer, and writes head and body separately: together a tenth of the service's work for
a transfer.
"""

from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

# Joining copies the answer. A large one that many clients read slowly at once must exist only once in memory.
_JOINED_BYTES = 64 * 1024
_SPECIAL = frozenset({b"connection", b"transfer-encoding"})
# All but the tab. One of them in a value could begin a field, or a whole answer, of somebody else's making.
_CONTROLS = bytes((*range(9), *range(10, 32), 127))


class Exchange(RequestResponseCycle):
    """One request on a connection, and its answer.

    The head of an answer waits for the first part of the body, as ASGI demands. uvicorn sends whatever is no small,
    whole answer on a connection that stays open.
    """

    _head: ASGISendEvent | None = None

    async def send(self, message: ASGISendEvent) -> None:
        """Take the head of the answer, or a part of its body."""
        if message["type"] == "http.response.start" and self._head is None and not self.response_started:
            self._head = message
            return
        head, self._head = self._head, None
        if head is not None:
            if self._is_simple(head, message):
                self._send_whole(head, message)
                return
            await super().send(head)
        await super().send(message)

    def _is_simple(self, head: Any, message: Any) -> bool:
        body = message.get("body", b"")
        if message.get("more_body") or len(body) > _JOINED_BYTES or self.scope["method"] == "HEAD":
            return False
        if not self.keep_alive or self.disconnected or self.flow.write_paused:
            return False
        fields = dict(head["headers"])
        return fields.get(b"content-length") == b"%d" % len(body) and _SPECIAL.isdisjoint(fields)

    def _send_whole(self, head: Any, message: Any) -> None:
        lines = [b": ".join(field) for field in (*self.default_headers, *head["headers"])]
        fields = b"".join(lines)
        if len(fields.translate(None, _CONTROLS)) < len(fields):
            raise RuntimeError("A header of the answer has a character that none may have.")
        whole = [STATUS_LINE[head["status"]], b"\r\n".join(lines), b"\r\n\r\n", message.get("body", b"")]
        self.transport.write(b"".join(whole))
        self.waiting_for_100_continue = False
        self.response_started = self.response_complete = True
        self.message_event.set()
        self.on_response()
