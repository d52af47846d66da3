"""A connection through the door that ends as soon as it is made concerns no other connection of the process."""

import asyncio
import gc
import os
import socket

import pytest
import uvloop

from api.service.committing.door import knock, make_door, opened
from api.service.committing.passing import Way
from api.service.committing.taking import Committer


@pytest.mark.parametrize("is_inside", [True, False])
def test_who_speaks_with_a_process_that_is_gone_closes_no_descriptor_of_another(is_inside: bool) -> None:
    """With a descriptor that is closed twice, an answer would go to another caller."""

    async def test() -> None:
        inside, outside = make_door()
        with inside, outside:
            inside.setblocking(False)
            if is_inside:
                knock(outside).close()
            speaker = Committer(inside, {}) if is_inside else Way(outside)
            speaker.start()
            if not is_inside:
                (end,) = opened(inside)
                end.close()
            others: list[socket.socket] = []
            for _ in range(10):
                await asyncio.sleep(0)
                others.append(socket.socket())
            gc.collect()
            for other in others:
                os.fstat(other.fileno())
                other.close()
            speaker.stop()

    uvloop.run(test())
