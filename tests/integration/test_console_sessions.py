"""Sessions of the console: what they are worth, and when they end."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection

from api.security.keys import Wanted, add_key, digest_of, revoke_key, rotate_key
from api.security.sessions import begin_session, end_session, find_session
from domain.journal.database import Database
from domain.model.events import Context

pytestmark = pytest.mark.integration

BY = Context("test", "conversation")


@pytest.fixture
def connection(database: Database) -> Iterator[Connection[Any]]:
    with database.connect("test sessions") as opened:
        yield opened


def a_session(connection: Connection[Any], name: str = "shop") -> tuple[Any, str]:
    """A key, and the token of a session that acts with it."""
    key, _ = add_key(connection, Wanted(name, ["operator"], []), BY)
    return key, begin_session(connection, key)


def found(connection: Connection[Any], token: str) -> str | None:
    key = find_session(connection, digest_of(token))
    return key.name if key else None


def test_a_session_acts_with_its_key_and_only_a_digest_is_kept(connection: Connection[Any]) -> None:
    _, token = a_session(connection)
    assert found(connection, token) == "shop"
    assert found(connection, token + "x") is None
    (stored,) = connection.execute("SELECT console_sessions::text FROM console_sessions").fetchone() or ("",)
    assert token not in stored


def test_a_session_ends_with_its_time(connection: Connection[Any], owner: Connection[Any]) -> None:
    _, token = a_session(connection)
    owner.execute("UPDATE console_sessions SET ends_at = clock_timestamp()")
    assert found(connection, token) is None


def test_a_session_ends_by_signing_out_and_others_of_the_key_go_on(connection: Connection[Any]) -> None:
    key, token = a_session(connection)
    other = begin_session(connection, key)
    for _ in range(2):
        end_session(connection, token)
    assert (found(connection, token), found(connection, other)) == (None, "shop")


def test_a_session_ends_with_its_key(connection: Connection[Any]) -> None:
    (revoked, first), (rotated, second) = a_session(connection), a_session(connection, "rotated")
    assert revoke_key(connection, revoked.id, BY)
    assert rotate_key(connection, rotated.id, 0, BY)
    assert (found(connection, first), found(connection, second)) == (None, None)


def test_ended_sessions_are_cleared_away(connection: Connection[Any], owner: Connection[Any]) -> None:
    key, _ = a_session(connection)
    owner.execute("UPDATE console_sessions SET ends_at = clock_timestamp()")
    begin_session(connection, key)
    assert connection.execute("SELECT count(*) FROM console_sessions").fetchone() == (1,)
