"""Reading a body: bounded, and with room taken as soon as it is known to be a large one."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from api.http.body import LARGE_BODY_BYTES, read_body
from api.problems import BodyTooLarge

MOST = 3 * LARGE_BODY_BYTES
CHUNKED = {b"transfer-encoding": b"chunked"}


def read(*parts: int, headers: dict[bytes, bytes] = CHUNKED) -> tuple[bytes, list[int]]:
    """Return a body that arrives in parts of these sizes, and the room that was asked for."""
    sizes: list[int] = []

    def messages() -> Iterator[Message]:
        for number, size in enumerate(parts, 1):
            yield {"type": "http.request", "body": b"a" * size, "more_body": number < len(parts)}
        yield {"type": "http.disconnect"}

    arriving = messages()

    async def receive() -> Message:
        return next(arriving)

    return asyncio.run(read_body(receive, headers, MOST, sizes.append)), sizes


@pytest.mark.parametrize("parts", [(1,), (0,), (LARGE_BODY_BYTES,), (5, 0, 7)])
def test_a_small_body_needs_no_room(parts: tuple[int, ...]) -> None:
    assert read(*parts) == (b"a" * sum(parts), [])


@pytest.mark.parametrize("parts", [(LARGE_BODY_BYTES + 1,), (5, LARGE_BODY_BYTES), (LARGE_BODY_BYTES, 1)])
def test_a_large_one_needs_room_however_it_arrives(parts: tuple[int, ...]) -> None:
    assert read(*parts) == (b"a" * sum(parts), [sum(parts)])


def test_an_announced_one_needs_room_before_it_arrives() -> None:
    size = LARGE_BODY_BYTES + 1
    _, sizes = read(10, size - 10, headers={b"content-length": b"%d" % size})
    assert sizes[0] == size


@pytest.mark.parametrize("parts", [(MOST + 1,), (MOST, 1)])
def test_one_beyond_the_bound_is_refused(parts: tuple[int, ...]) -> None:
    with pytest.raises(BodyTooLarge):
        read(*parts)


def test_a_client_that_leaves_has_sent_none() -> None:
    with pytest.raises(ClientDisconnect):
        read()
