"""The door of the process that commits: through it the others hand over one end of a pair of sockets.

The supervisor makes the door, a pair of sockets without a name, and each API process inherits one side. A knock sends
one end of a new pair through it. So nobody but these processes can be at either end. A knock waits until the process
that commits is there, also while it is restarted. When that process dies, its ends close, and the others see that.

A knock names the release. If the code was replaced beneath a running supervisor, a process that was restarted since is
of another release than the others, and what they say to each other might be misread. So it is not let in.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import NamedTuple

from domain.release import RELEASE

_KNOCK = RELEASE.encode()
_MOST_BYTES = 64


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
    """Return the ends that were sent through the door and not taken in yet. Those of another release are closed."""
    found: list[socket.socket] = []
    while True:
        try:
            said, descriptors, _, _ = socket.recv_fds(inside, _MOST_BYTES, 1)
        except BlockingIOError:
            return found
        for descriptor in descriptors:
            end = socket.socket(fileno=descriptor)
            end.set_inheritable(False)
            end.setblocking(False)
            if said == _KNOCK:
                found.append(end)
            else:
                end.close()


async def converse(end: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
    """Have a protocol speak and listen at one end of a pair from here on.

    uvloop closes the descriptor when the connection ends, but makes `end` give it up only if the connection was made
    before. If the other end is closed already, `end` would close the descriptor a second time, and by then it may be
    that of another connection.
    """
    transport, _ = await asyncio.get_running_loop().create_unix_connection(protocol, sock=end)
    if transport.is_closing():
        end.detach()
