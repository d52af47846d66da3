"""A connection through the door that ends as soon as it is made concerns no other connection of the process."""

import asyncio
import gc
import os
import socket

import uvloop

from api.service.committing.door import knock, make_door
from api.service.committing.taking import Committer


def test_who_takes_in_a_process_that_is_gone_closes_no_descriptor_of_another() -> None:
    """With a descriptor that is closed twice, an answer would go to another caller."""

    async def test() -> None:
        inside, outside = make_door()
        with inside, outside:
            inside.setblocking(False)
            knock(outside).close()
            committer = Committer(inside, {})
            committer.start()
            others: list[socket.socket] = []
            for _ in range(10):
                await asyncio.sleep(0)
                others.append(socket.socket())
            gc.collect()
            for other in others:
                os.fstat(other.fileno())
                other.close()
            committer.stop()

    uvloop.run(test())
