"""Idempotency: derived ids and fingerprints."""

import json
from hashlib import sha256
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.model.idempotency import fingerprint, is_key, operation_id
from domain.model.money import MAX_AMOUNT

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_AMOUNT, MAX_AMOUNT) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
POSTING = {
    "entries": [
        {"account": "alice", "direction": "debit", "amount": 1050},
        {"account": "bob", "direction": "credit", "amount": 1050},
    ]
}


@settings(deadline=None)
@given(st.text(), st.text())
def test_the_id_is_the_uuid5_of_the_standard_library(ledger: str, key: str) -> None:
    assert operation_id(ledger, key) == str(uuid5(NAMESPACE_URL, f"tallystick:{ledger}/{key}"))


def test_an_id_that_clients_compute_themselves() -> None:
    assert operation_id("main", "order-1") == "fcaf74c4-0401-53ab-8879-41817445a87d"
    assert UUID(operation_id("main", "order-1")).version == 5


@pytest.mark.parametrize("key", ["a", "order-1", "!", "~", '"', "a:b?c#d%e", "k" * 255])
def test_a_key(key: str) -> None:
    assert is_key(key)


@pytest.mark.parametrize("text", ["", " ", "a b", "a/b", "/", "\t", "a\n", "\x7f", "\x00", "ä", "k" * 256])
def test_no_key(text: str) -> None:
    assert not is_key(text)


@settings(deadline=None)
@given(st.characters(codec="latin-1"))
def test_a_key_is_made_of_visible_ascii_without_slash(character: str) -> None:
    assert is_key(character) == (33 <= ord(character) <= 126 and character != "/")


def of(text: str, method: str = "POST", path: str = "/v1/ledgers/main/transactions") -> str:
    return fingerprint(method, path, json.loads(text))


def test_a_fingerprint_is_a_sha_256_in_hex() -> None:
    assert len(of("{}")) == 64 and int(of("{}"), 16) > 0


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}'),
        ('{"a": {"x": 1, "y": 2}, "b": 2}', '{"b": 2, "a": {"y": 2, "x": 1}}'),
        ('{"a":1,"b":[1,2]}', ' {\n\t"a" : 1 ,\r\n "b" : [ 1 , 2 ] } '),
        ('{"a": "ü/€😀"}', r'{"a": "\u00fc\/\u20ac\ud83d\ude00"}'),
        ('{"ab": 1}', r'{"\u0061b": 1}'),
        ('{"a": "\\n"}', r'{"a": "\u000a"}'),
    ],
)
def test_order_of_members_white_space_and_escapes_do_not_count(one: str, same: str) -> None:
    assert of(one) == of(same)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{}", '{"pending": false}'),  # an omitted default, and the same default written
        ('{"reference": ""}', "{}"),
        ('{"metadata": {}}', "{}"),
        ('{"effective_at": null}', "{}"),
        ("[1, 2]", "[2, 1]"),
        ('{"a": 1}', '{"a": "1"}'),
        ('{"a": 1}', '{"a": 1.0}'),
        ('{"a": 1}', '{"a": true}'),
        ('{"a": 0}', '{"a": null}'),
        ('{"a": "ü"}', '{"a": "u\u0308"}'),  # not normalised: other bytes are another text
        ('{"a": 9007199254740991}', '{"a": 9007199254740992}'),
        ('{"a": "b\\",\\"c\\":\\"d"}', '{"a": "b", "c": "d"}'),
    ],
)
def test_everything_else_counts(one: str, other: str) -> None:
    assert of(one) != of(other)


def test_method_and_path_count() -> None:
    assert fingerprint("POST", "/a", POSTING) != fingerprint("PUT", "/a", POSTING)
    assert fingerprint("POST", "/a", POSTING) != fingerprint("POST", "/b", POSTING)


def test_it_is_the_same_for_ever() -> None:
    """Fingerprints recorded by an older release are compared with those of a newer one."""
    known = "7eed1162339d6dafd4762cc2981706e9a26f02535450c43dc00c4ff41d835700"
    assert fingerprint("POST", "/v1/ledgers/main/transactions", {"b": [1, None], "a": "ü"}) == known


@settings(deadline=None)
@given(JSON)
def test_the_canonical_body_is_that_of_the_standard_library(body: Any) -> None:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert fingerprint("POST", "/a", body) == sha256(f"POST /a\n{canonical}".encode()).hexdigest()


@settings(deadline=None)
@given(JSON)
def test_bodies_that_mean_the_same_have_one_fingerprint(body: Any) -> None:
    sent = json.dumps(body, ensure_ascii=True, indent=2)
    shuffled = json.loads(sent, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert fingerprint("POST", "/", shuffled) == fingerprint("POST", "/", body)


def comparable(body: Any) -> Any:
    """The body in a form in which `True` differs from `1`."""
    match body:
        case dict():
            return {key: comparable(value) for key, value in body.items()}
        case list():
            return [comparable(value) for value in body]
        case _:
            return type(body), body


@settings(deadline=None)
@given(JSON, JSON)
def test_bodies_that_differ_have_different_fingerprints(one: Any, other: Any) -> None:
    same = comparable(one) == comparable(other)
    assert (fingerprint("POST", "/", one) == fingerprint("POST", "/", other)) == same
