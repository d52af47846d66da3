"""Room for large bodies: how much there is, for one caller and for all, and in which order they have their turns."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest

from api.service.body_room import (
    LARGE_AT_ONCE_BYTES,
    LARGEST_OF_SMALL_BYTES,
    MAX_BYTES,
    MAX_BYTES_OF_ONE,
    MIB,
    SMALL_AT_ONCE_BYTES,
    BodyRoom,
    RoomShare,
)
from domain.model.errors import Overloaded


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in an event loop of its own."""

    @wraps(test)
    def run(*arguments: Any, **options: Any) -> None:
        asyncio.run(test(*arguments, **options))

    return run


class Working:
    """Requests that wait for their turns, and those that have begun, in the order in which they have."""

    def __init__(self, room: BodyRoom) -> None:
        self._room = room
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.places: dict[str, RoomShare] = {}
        self.begun: list[str] = []

    async def ask(self, name: str, size: int, caller: str | None = None) -> None:
        """Let a request wait for its turn, in the name of a caller of its own unless one is named."""
        place = self.places[name] = RoomShare(self._room, caller or name)
        place.grow(size)
        self._tasks[name] = asyncio.create_task(self._begin(name, place))
        await settled()

    async def _begin(self, name: str, place: RoomShare) -> None:
        try:
            await place.begin_work()
        except asyncio.CancelledError:
            place.leave()
            raise
        self.begun.append(name)

    async def end(self, name: str) -> None:
        """End what a request does."""
        self.places[name].end_work()
        await settled()

    async def call_off(self, *names: str) -> None:
        """Let clients go away, all at the same moment."""
        for name in names:
            self._tasks[name].cancel()
        await settled()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def fits(room: BodyRoom, caller: str, size: int) -> bool:
    """Whether there is room, which is given back at once."""
    place = RoomShare(room, caller)
    try:
        place.grow(size)
    except Overloaded:
        return False
    place.leave()
    return True


def test_one_caller_has_at_most_its_share_and_leaves_the_rest_to_others() -> None:
    room = BodyRoom()
    own = [RoomShare(room, "a") for _ in range(4)]
    for place in own:
        place.grow(MAX_BYTES_OF_ONE // 4)
    with pytest.raises(Overloaded, match="of this caller"):
        RoomShare(room, "a").grow(1)
    assert fits(room, "b", MAX_BYTES_OF_ONE) and not fits(room, "b", MAX_BYTES_OF_ONE + 1)
    own[0].leave()
    assert fits(room, "a", MAX_BYTES_OF_ONE // 4) and not fits(room, "a", MAX_BYTES_OF_ONE // 4 + 1)


def test_all_together_have_at_most_all_of_it() -> None:
    room = BodyRoom()
    places = [RoomShare(room, caller) for caller in "ab"]
    for place in places:
        place.grow(MAX_BYTES_OF_ONE)
    with pytest.raises(Overloaded, match="Try again shortly"):
        RoomShare(room, "c").grow(1)
    for place in places:
        place.leave()
    assert all(fits(room, caller, MAX_BYTES_OF_ONE) for caller in "abc")
    assert MAX_BYTES >= 2 * MAX_BYTES_OF_ONE


def test_what_grows_is_counted_once_and_what_found_no_room_not_at_all() -> None:
    room = BodyRoom()
    place = RoomShare(room, "a")
    for size in (MIB, 3 * MIB, 2 * MIB, MAX_BYTES_OF_ONE):
        place.grow(size)
    with pytest.raises(Overloaded):
        place.grow(MAX_BYTES_OF_ONE + 1)
    assert not fits(room, "a", 1)
    place.leave()
    place.leave()  # again is as once
    assert fits(room, "a", MAX_BYTES_OF_ONE) and not fits(room, "a", MAX_BYTES_OF_ONE + 1)


@in_a_loop
async def test_turns_are_had_in_the_order_of_asking() -> None:
    working = Working(BodyRoom())
    await working.ask("first", LARGE_AT_ONCE_BYTES - 2 * MIB)
    await working.ask("large", 4 * MIB)
    await working.ask("smaller", 2 * MIB)  # there would be room, but "large" came before
    assert working.begun == ["first"]
    await working.end("first")
    assert working.begun == ["first", "large", "smaller"]


@in_a_loop
async def test_what_is_small_does_not_wait_for_what_is_large() -> None:
    working = Working(BodyRoom())
    await working.ask("large", LARGE_AT_ONCE_BYTES)
    await working.ask("next", LARGEST_OF_SMALL_BYTES + 1)
    for number in range(SMALL_AT_ONCE_BYTES // LARGEST_OF_SMALL_BYTES):
        await working.ask(f"small {number}", LARGEST_OF_SMALL_BYTES)
    assert working.begun == ["large", *(f"small {number}" for number in range(4))]
    await working.ask("one more", LARGEST_OF_SMALL_BYTES)
    assert "one more" not in working.begun
    await working.end("small 2")
    assert working.begun[-1] == "one more"


@in_a_loop
async def test_a_caller_that_fills_its_share_keeps_no_other_from_its_turn() -> None:
    working = Working(BodyRoom())
    for number in range(8):
        await working.ask(f"a{number}", MAX_BYTES_OF_ONE // 8, "a")
    with pytest.raises(Overloaded):
        await working.ask("a8", MAX_BYTES_OF_ONE // 8, "a")
    await working.ask("b", MAX_BYTES_OF_ONE // 8, "b")
    for number in range(7):
        # As soon as one ends and its answer is sent, the same caller comes again: behind the other.
        await working.end(f"a{number}")
        working.places[f"a{number}"].leave()
        await working.ask(f"again{number}", MAX_BYTES_OF_ONE // 8, "a")
    assert working.begun.index("b") == 8


@in_a_loop
async def test_who_goes_away_while_it_waits_leaves_its_turn_to_those_behind_it() -> None:
    room = BodyRoom()
    working = Working(room)
    await working.ask("first", LARGE_AT_ONCE_BYTES - 4 * MIB)
    await working.ask("too large", 6 * MIB)
    await working.ask("fits", 4 * MIB)
    assert working.begun == ["first"]
    await working.call_off("too large")
    assert working.begun == ["first", "fits"]
    for name in ("first", "fits"):
        working.places[name].leave()
    assert fits(room, "too large", MAX_BYTES_OF_ONE)


@in_a_loop
async def test_who_goes_away_at_the_moment_of_its_turn_gives_it_back() -> None:
    room = BodyRoom()
    working = Working(room)
    await working.ask("first", LARGE_AT_ONCE_BYTES)
    await working.ask("gone", 8 * MIB)
    await working.ask("next", 8 * MIB)
    working.places["first"].leave()  # it is the turn of both
    await working.call_off("gone")
    assert working.begun == ["first", "next"]
    working.places["next"].leave()
    # Nothing of it is lost.
    await working.ask("whole", LARGE_AT_ONCE_BYTES)
    assert working.begun[-1] == "whole"


@in_a_loop
async def test_a_request_without_a_large_body_waits_for_nothing() -> None:
    working = Working(BodyRoom())
    await working.ask("large", LARGE_AT_ONCE_BYTES)
    await working.ask("none", 0)
    assert working.begun == ["large", "none"]
    await working.end("none")
    working.places["none"].leave()
