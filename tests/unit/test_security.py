"""What a key may be used for."""

from uuid import uuid4

import pytest

from api.security.keys import Key, digest_of, new_key


def key(*ledgers: str) -> Key:
    return Key(uuid4(), "shop", ("client",), ledgers, "2026-11-23T20:00:00.000000Z", None)


@pytest.mark.parametrize(
    ("granted", "asked", "allowed"),
    [
        ((), [], True),
        ((), ["main"], False),
        (("main",), ["main"], True),
        (("main",), ["main", "other"], False),
        (("main",), ["*"], False),
        (("main",), ["mai"], False),
        (("main",), ["main2"], False),
        (("main", "*"), ["other"], True),
        (("*",), ["*", "other"], True),
    ],
)
def test_a_key_may_grant_what_it_was_granted(
    granted: tuple[str, ...], asked: list[str], allowed: bool
) -> None:
    assert key(*granted).may_grant(asked) is allowed
    assert all(key(*granted).may_use(ledger) for ledger in asked) is allowed


def test_every_ledger_is_no_list_of_ledgers() -> None:
    assert key("*", "main").granted is None
    assert key("main").granted == ["main"]
    assert key().granted == []


def test_no_two_keys_or_digests_are_the_same() -> None:
    made = {new_key() for _ in range(1000)}
    assert len(made) == len({digest_of(text) for text in made}) == 1000


def test_a_digest_exists_for_whatever_a_header_can_hold() -> None:
    assert len(digest_of("".join(map(chr, range(256))))) == len(digest_of("\udc80")) == 32
