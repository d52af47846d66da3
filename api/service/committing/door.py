"""The door of the process that commits: through it the others hand over one end of a pair of sockets.

The supervisor makes the door, a pair of sockets without a name, and each API process inherits one side. A knock sends
one end of a new pair through it. So nobody but these processes can be at either end. A knock waits until the process
that commits is there, also while it is restarted. When that process dies, its ends close, and the others see that.
"""

import socket
from typing import NamedTuple

_KNOCK = b"!"


class Door(NamedTuple):
    """One side of the door: inside, where the process is that commits, or outside."""

    side: socket.socket
    is_inside: bool


def make_door() -> tuple[socket.socket, socket.socket]:
    """Return the two sides of a door: inside and outside."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)


def inherited(descriptor: int, *, is_inside: bool) -> Door:
    """Return the side of the door that this process has inherited. No process that it starts inherits it."""
    side = socket.socket(fileno=descriptor)
    side.set_inheritable(False)
    side.setblocking(False)
    return Door(side, is_inside)


def knock(outside: socket.socket) -> socket.socket:
    """Send one end of a new pair through the door, and return the other. Raises `OSError` if many knocks wait."""
    mine, theirs = socket.socketpair()
    with theirs:
        try:
            socket.send_fds(outside, [_KNOCK], [theirs.fileno()])
        except OSError:
            mine.close()
            raise
    mine.setblocking(False)
    return mine


def opened(inside: socket.socket) -> list[socket.socket]:
    """Return the ends that were sent through the door and not taken in yet."""
    found: list[socket.socket] = []
    while True:
        try:
            _, descriptors, _, _ = socket.recv_fds(inside, len(_KNOCK), 1)
        except BlockingIOError:
            return found
        for descriptor in descriptors:
            end = socket.socket(fileno=descriptor)
            end.set_inheritable(False)
            end.setblocking(False)
            found.append(end)
