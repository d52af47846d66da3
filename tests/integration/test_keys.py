"""Keys in the database, and in the memory of a process."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import Connection

from api.problems import BootstrapKeyFixed
from api.security.keys import (
    Key,
    Wanted,
    add_key,
    digest_of,
    ensure_bootstrap_key,
    find_key,
    list_keys,
    look_at_key,
    revoke_key,
    rotate_key,
)
from api.service import key_cache
from api.service.key_cache import KNOWN_FOR_SECONDS, KeyCache
from domain.journal.database import Database
from domain.model.events import Context
from domain.model.times import moment
from tests.ledgers import running

pytestmark = pytest.mark.integration


@pytest.fixture
def connection(database: Database) -> Iterator[Connection[Any]]:
    with database.connect("test keys") as opened:
        yield opened


BY = Context("root at a terminal", "conversation-1")


def add(connection: Connection[Any], name: str, roles: list[str], ledgers: list[str]) -> tuple[Key, str]:
    """Make a key. Its ledgers need not exist."""
    return add_key(connection, Wanted(name, roles, (), ledgers), BY)


def valid_keys(connection: Connection[Any]) -> list[Key]:
    return list_keys(connection, state="active")


def revoke(connection: Connection[Any], id: UUID) -> bool:
    return revoke_key(connection, id, BY)


def end(connection: Connection[Any], id: UUID) -> None:
    """Let a key expire."""
    connection.execute("UPDATE api_keys SET valid_until = clock_timestamp() WHERE id = %s", (id,))


def now(connection: Connection[Any]) -> datetime:
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    time: datetime = row[0]
    return time


def test_a_rotated_key_has_what_the_old_one_had(connection: Connection[Any]) -> None:
    old, _ = add(connection, "shop", ["client", "auditor"], ["main", "other"])
    rotated = rotate_key(connection, old.id, 3600, BY)
    assert rotated is not None
    new, key = rotated
    assert new.id != old.id
    assert new[1:4] == old[1:4]
    assert new.valid_until is None
    assert find_key(connection, digest_of(key)) == new


def test_the_old_key_ends_when_the_overlap_is_over(connection: Connection[Any]) -> None:
    old, key = add(connection, "shop", ["client"], [])
    before = now(connection)
    rotate_key(connection, old.id, 3600, BY)
    after = now(connection)
    found = find_key(connection, digest_of(key))
    assert found is not None and found.valid_until is not None
    assert (moment(found.valid_until) - before).total_seconds() >= 3600
    assert (moment(found.valid_until) - after).total_seconds() <= 3600


def test_without_an_overlap_it_ends_at_once(connection: Connection[Any]) -> None:
    old, key = add(connection, "shop", ["client"], [])
    assert rotate_key(connection, old.id, 0, BY) is not None
    assert find_key(connection, digest_of(key)) is None
    found = look_at_key(connection, old.id)
    assert found is not None and found.state == "expired"


def test_a_key_past_its_end_is_none(connection: Connection[Any]) -> None:
    made, key = add(connection, "shop", ["client"], [])
    end(connection, made.id)
    assert find_key(connection, digest_of(key)) is None
    found = look_at_key(connection, made.id)
    assert found is not None and found.state == "expired"
    assert valid_keys(connection) == []
    assert rotate_key(connection, made.id, 0, BY) is None
    assert revoke(connection, made.id)


def test_a_rotation_never_puts_the_end_off(connection: Connection[Any]) -> None:
    old, _ = add(connection, "shop", ["client"], [])
    ends = []
    for overlap_seconds in (3600, 7200, 60):
        assert rotate_key(connection, old.id, overlap_seconds, BY) is not None
        found = look_at_key(connection, old.id)
        assert found is not None and found.valid_until is not None
        ends.append(found.valid_until)
    assert ends[0] == ends[1] > ends[2]


def test_what_is_no_valid_key_is_not_rotated(connection: Connection[Any]) -> None:
    revoked, _ = add(connection, "shop", ["client"], [])
    revoke(connection, revoked.id)
    for id in (revoked.id, uuid4()):
        assert rotate_key(connection, id, 3600, BY) is None
    assert connection.execute("SELECT count(*) FROM api_keys").fetchone() == (1,)


def test_the_bootstrap_key_is_not_rotated(database: Database, connection: Connection[Any]) -> None:
    ensure_bootstrap_key(database, None)
    (bootstrap,) = valid_keys(connection)
    with pytest.raises(BootstrapKeyFixed, match="TALLYSTICK_BOOTSTRAP_KEY"):
        rotate_key(connection, bootstrap.id, 0, BY)
    assert valid_keys(connection) == [bootstrap]


def test_of_many_rotations_at_once_one_is_made(database: Database, connection: Connection[Any]) -> None:
    old, _ = add(connection, "shop", ["client"], [])

    def rotate(_: int) -> bool:
        with database.connect("test keys") as own:
            return rotate_key(own, old.id, 0, BY) is not None

    with ThreadPoolExecutor(6) as rotating:
        assert sum(rotating.map(rotate, range(6))) == 1
    assert len(valid_keys(connection)) == 1


def test_a_transaction_begun_before_a_key_ended_knows_that_it_has(
    database: Database, connection: Connection[Any]
) -> None:
    old, key = add(connection, "shop", ["client"], [])
    with database.connect("test earlier", autocommit=False) as earlier:
        earlier.execute("SELECT now()")
        assert rotate_key(connection, old.id, 0, BY) is not None
        assert find_key(earlier, digest_of(key)) is None
        assert rotate_key(earlier, old.id, 0, BY) is None


def test_where_all_keys_have_ended_a_start_makes_one(database: Database, connection: Connection[Any]) -> None:
    made, _ = add(connection, "shop", ["operator"], ["*"])
    assert ensure_bootstrap_key(database, None) is None
    end(connection, made.id)
    assert ensure_bootstrap_key(database, None) is not None


class TestKeyRing:
    """What a process remembers of keys."""

    @pytest.fixture
    def ring(self, database: Database) -> Iterator[KeyCache]:
        with running(database) as ledger, ThreadPoolExecutor(1) as reading:
            yield KeyCache(ledger, reading)

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """The time in seconds. It stands still unless a test moves it."""
        time = [0.0]
        monkeypatch.setattr(key_cache, "monotonic", lambda: time[0])
        return time

    @pytest.mark.parametrize("ending", [end, revoke])
    def test_an_end_is_unknown_for_no_longer_than_it_says(
        self, ring: KeyCache, clock: list[float], connection: Connection[Any], ending: Any
    ) -> None:
        made, key = add(connection, "shop", ["client"], [])

        async def ask_while_it_ends() -> None:
            assert await ring.find(key) == made
            ending(connection, made.id)
            clock[0] = KNOWN_FOR_SECONDS - 0.001
            assert await ring.find(key) == made
            clock[0] = KNOWN_FOR_SECONDS
            assert await ring.find(key) is None

        asyncio.run(ask_while_it_ends())

    def test_asking_often_does_not_make_it_believed_for_longer(
        self, ring: KeyCache, clock: list[float], connection: Connection[Any]
    ) -> None:
        made, key = add(connection, "shop", ["client"], [])

        async def keep_asking() -> list[bool]:
            await ring.find(key)
            end(connection, made.id)
            believed = []
            for clock[0] in (KNOWN_FOR_SECONDS * tenth / 10 for tenth in range(15)):
                believed.append(await ring.find(key) is not None)
            return believed

        assert asyncio.run(keep_asking()) == [True] * 10 + [False] * 5

    def test_what_this_process_ended_is_looked_up_at_once(
        self, ring: KeyCache, clock: list[float], connection: Connection[Any]
    ) -> None:
        made, key = add(connection, "shop", ["client"], [])

        async def end_and_forget() -> None:
            assert await ring.find(key) == made
            end(connection, made.id)
            ring.forget()
            assert await ring.find(key) is None

        asyncio.run(end_and_forget())
