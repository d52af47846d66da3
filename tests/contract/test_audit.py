"""Checkpoints and proofs over HTTP, verified as an auditor would by api/README.md, RFC 9162 and C2SP."""

from base64 import b64decode
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from domain.transparency.merkle_tree import verify_consistency, verify_inclusion
from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book
from tests.contract.callers import Keys
from tests.contract.histories import events


def checkpoint(client: httpx2.Client, **parameters: Any) -> tuple[int, bytes]:
    """The size and root of the newest checkpoint, its signature verified with the service's key."""
    answer = client.get("/v1/audit/checkpoint", params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].partition(";")[0] == "text/plain"
    text, _, signature = answer.text.partition("\n\n")
    origin, size, root = text.split("\n")
    first = client.get("/v1/audit/verifier-key").text.splitlines()[0]
    name, key_id, key = first.split("+", 2)
    assert name == origin
    assert origin.startswith("tallystick/")
    signed = b64decode(signature.removeprefix(f"— {origin} ").removesuffix("\n"), validate=True)
    assert signed[:4].hex() == key_id
    Ed25519PublicKey.from_public_bytes(b64decode(key)[1:]).verify(signed[4:], f"{text}\n".encode())
    return int(size), b64decode(root)


def test_every_event_is_proved_to_be_in_the_journal_that_was_signed(book: Book) -> None:
    position = book.transfer("a", "b", 5).json()["position"]
    size, root = checkpoint(book.client, min_position=position)
    assert size >= position
    for event in events(book):
        proof = book.client.get(
            "/v1/audit/proofs/inclusion", params={"position": event["position"], "size": size}
        ).json()
        assert proof.keys() == {"position", "leaf_index", "size", "leaf_hash", "root_hash", "path"}
        assert (proof["position"], proof["size"]) == (event["position"], size)
        assert proof["leaf_hash"] == event["leaf_hash"]
        assert proof["leaf_index"] == event["position"] - 1
        path = [bytes.fromhex(node) for node in proof["path"]]
        assert verify_inclusion(bytes.fromhex(proof["leaf_hash"]), proof["leaf_index"], size, root, path)
        assert bytes.fromhex(proof["root_hash"]) == root


def test_a_later_journal_is_proved_to_have_grown_out_of_an_earlier_one(book: Book) -> None:
    first, before = checkpoint(book.client)
    position = book.transfer("a", "b", 5).json()["position"]
    second, after = checkpoint(book.client, min_position=position)
    proof = book.client.get("/v1/audit/proofs/consistency", params={"from": first, "to": second}).json()
    assert proof.keys() == {"from", "to", "from_root", "to_root", "path"}
    assert (proof["from"], proof["to"]) == (first, second)
    assert (bytes.fromhex(proof["from_root"]), bytes.fromhex(proof["to_root"])) == (before, after)
    path = [bytes.fromhex(node) for node in proof["path"]]
    assert verify_consistency(first, second, before, after, path)


def test_sizes_that_are_left_out_are_those_of_the_newest_checkpoint(book: Book) -> None:
    size, root = checkpoint(book.client)
    proof = book.client.get("/v1/audit/proofs/inclusion", params={"position": 1}).json()
    assert proof["size"] >= size
    growth = book.client.get("/v1/audit/proofs/consistency", params={"from": size}).json()
    assert growth["to"] >= size
    assert bytes.fromhex(growth["from_root"]) == root
    nothing = book.client.get("/v1/audit/proofs/consistency", params={"from": 0, "to": size}).json()
    assert (nothing["path"], nothing["to_root"]) == ([], root.hex())


@pytest.mark.parametrize(
    ("path", "parameters", "pointers"),
    [
        ("inclusion", {}, ["?position"]),
        ("inclusion", {"position": "0"}, ["?position"]),
        ("inclusion", {"position": "-1", "size": "0"}, ["?position", "?size"]),
        ("inclusion", {"position": "x"}, ["?position"]),
        ("inclusion", {"position": "2", "size": "1"}, ["?position"]),
        ("inclusion", {"position": str(2**62)}, ["?position"]),
        ("inclusion", {"position": "1", "size": str(2**62)}, ["?size"]),
        ("inclusion", {"position": "1", "other": "1"}, ["?other"]),
        ("consistency", {}, ["?from"]),
        ("consistency", {"from": "2", "to": "1"}, ["?from"]),
        ("consistency", {"from": "1", "to": str(2**62)}, ["?to"]),
        ("consistency", {"from": str(2**62)}, ["?from"]),
        ("consistency", {"from": "-1", "to": "1.0"}, ["?from", "?to"]),
    ],
)
def test_ranges_that_are_none(
    client: httpx2.Client, path: str, parameters: dict[str, str], pointers: list[str]
) -> None:
    checkpoint(client)
    assert pointers_of(client.get(f"/v1/audit/proofs/{path}", params=parameters)) == pointers


def test_a_position_that_is_not_sealed_in_time(client: httpx2.Client) -> None:
    answer = client.get("/v1/audit/checkpoint", params={"min_position": 2**60}, headers={"Prefer": "wait=0"})
    assert (answer.status_code, code_of(answer)) == (503, "projection_behind")
    assert answer.headers["retry-after"]
    assert answer.json()["position"] <= answer.json()["head"]


def test_what_is_recorded_is_sealed_within_a_moment(book: Book) -> None:
    for _ in range(3):
        position = book.transfer("a", "b", 5).json()["position"]
        size, _ = checkpoint(book.client, min_position=position)
        assert size >= position


def test_it_is_for_those_who_audit(keys: Keys) -> None:
    for role, status in (("client", 403), ("auditor", 200), ("operator", 200)):
        assert keys.client(role, ledgers=["*"]).get("/v1/audit/checkpoint").status_code == status


def sealed(book: Book) -> int:
    """Record something, wait until it is sealed, and return the size of that checkpoint."""
    position = book.transfer("a", "b", 5).json()["position"]
    size, _ = checkpoint(book.client, min_position=position)
    return size


def test_past_checkpoints_are_served_with_their_time(book: Book) -> None:
    first, second = sealed(book), sealed(book)
    assert first < second
    listed = book.client.get("/v1/audit/checkpoints", params={"page_size": 1000, "order": "desc"}).json()[
        "data"
    ]
    found = {item["size"]: item for item in listed}
    for size in (first, second):
        item = found[size]
        assert item.keys() == {"size", "signed_at", "root_hash", "note"}
        answer = book.client.get(f"/v1/audit/checkpoints/{size}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] == "text/plain"
        assert answer.text == item["note"]
        assert answer.text.splitlines()[1] == str(size)
        assert b64decode(answer.text.splitlines()[2]).hex() == item["root_hash"]
        signed_at = datetime.fromisoformat(item["signed_at"])
        assert parsedate_to_datetime(answer.headers["last-modified"]) == signed_at.replace(microsecond=0)
        growth = {"from": size, "to": second}
        proof = book.client.get("/v1/audit/proofs/consistency", params=growth).json()
        assert proof["from_root"] == item["root_hash"]
    assert found[first]["signed_at"] < found[second]["signed_at"]


def pages(client: httpx2.Client, **parameters: Any) -> list[dict[str, Any]]:
    """All items of the list of checkpoints, read page by page."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while True:
        page = client.get("/v1/audit/checkpoints", params={**parameters, **cursor}).json()
        found += page["data"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


def test_the_list_of_checkpoints_is_as_all_lists(book: Book) -> None:
    for _ in range(3):
        sealed(book)
    everything = pages(book.client, page_size=1000)
    assert [item["size"] for item in everything] == sorted({item["size"] for item in everything})
    until = everything[-1]["signed_at"]
    bounded = everything[:-1]
    assert pages(book.client, page_size=2, to=until) == bounded
    assert pages(book.client, page_size=2, to=until, order="desc") == bounded[::-1]
    since = everything[-3]["signed_at"]
    assert pages(book.client, to=until, **{"from": since}) == bounded[-2:]
    assert pages(book.client, **{"from": until})[0] == everything[-1]
    assert pages(book.client, to=everything[0]["signed_at"]) == []
    cursor = book.client.get("/v1/audit/checkpoints", params={"page_size": 1}).json()["next_cursor"]
    other = book.client.get("/v1/audit/checkpoints", params={"cursor": cursor, "order": "desc"})
    assert (other.status_code, code_of(other)) == (400, "cursor_mismatch")
    forged = book.client.get("/v1/audit/checkpoints", params={"cursor": "bm90aGluZw"})
    assert (forged.status_code, code_of(forged)) == (400, "cursor_invalid")
    refused = book.client.get("/v1/audit/checkpoints", params={"page_size": 0, "from": "soon", "size": 3})
    assert sorted(pointers_of(refused)) == ["?from", "?page_size", "?size"]


@pytest.mark.parametrize("size", ["-1", "01", "x", "1.0", str(2**62), str(2**63), "9" * 400, "%20", "²"])
def test_a_size_of_which_no_checkpoint_was_signed(client: httpx2.Client, size: str) -> None:
    checkpoint(client)
    answer = client.get(f"/v1/audit/checkpoints/{size}")
    assert (answer.status_code, code_of(answer)) == (404, "checkpoint_not_found")


@pytest.mark.parametrize("path", ["/v1/audit/checkpoints", "/v1/audit/checkpoints/{size}"])
def test_past_checkpoints_are_for_those_who_audit(book: Book, keys: Keys, path: str) -> None:
    path = path.replace("{size}", str(sealed(book)))
    for role, status in (("client", 403), ("auditor", 200), ("operator", 200)):
        assert keys.client(role, ledgers=["*"]).get(path).status_code == status
    assert keys.client_with(None).get(path).status_code == 401
