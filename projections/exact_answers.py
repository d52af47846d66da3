"""Whether the bytes of an HTTP answer ended where its Content-Length says.

An outside server that announces fewer bytes than it sends leaves the rest in the buffer of the connection. The client
library takes the rest for the beginning of the next answer, so an answer about one message would be filed under
another. So a connection is used again only after an answer that ended exactly where its Content-Length says. The
library drops a connection that is idle and readable, so `get_extra_info("is_readable")` reports the violation to it.
"""

import re

MAX_HEAD_BYTES = 100 * 1024
"""How much of an answer's head the client library reads before it gives up."""

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*(?=\r\n)", re.IGNORECASE)
_EMPTY = re.compile(rb"HTTP/1\.[01] (204|304)[ \r]")


class AnswerBytes:
    """Counts the bytes of the answer to the last request on a connection."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._received = 0
        self._expected: int | None = None

    def request_sent(self) -> None:
        """Start again: the bytes received from here on answer another request."""
        self._head.clear()
        self._received, self._expected = 0, None

    def received(self, data: bytes) -> None:
        """Count bytes that arrived."""
        self._received += len(data)
        if self._expected is None and len(self._head) <= MAX_HEAD_BYTES:
            looked_at = max(0, len(self._head) - len(_END_OF_HEAD))
            self._head += data
            self._expected = self._whole_length(looked_at)

    @property
    def is_exact(self) -> bool:
        """Whether nothing was received yet, or exactly one whole answer that states its own length."""
        return not self._received or self._received == self._expected

    def _whole_length(self, looked_at: int) -> int | None:
        """Return the length of head and body, or None if the head is incomplete or does not state it."""
        end = self._head.find(_END_OF_HEAD, looked_at)
        if end < 0:
            return None
        head = bytes(self._head[: end + 2])
        if _EMPTY.match(head):
            return end + len(_END_OF_HEAD)
        lengths = _LENGTH.findall(head)
        return end + len(_END_OF_HEAD) + int(lengths[0]) if len(lengths) == 1 else None
