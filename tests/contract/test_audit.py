"""Checkpoints and proofs over HTTP, verified by what an auditor has: the contract, RFC 9162 and C2SP."""

from base64 import b64decode
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from domain.merkle import verify_consistency, verify_inclusion
from tests.contract.conftest import Book, Keys, code_of, pointers_of
from tests.contract.test_events import events


def checkpoint(client: httpx2.Client, **parameters: Any) -> tuple[int, bytes]:
    """The newest checkpoint: its size and root, its signature verified with the key that the service names."""
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
