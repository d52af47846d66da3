"""Request bodies: strict JSON in UTF-8, of bounded size, complete in time."""

import gzip
import json
import re
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx2
import pytest

from api.http import body
from api.resources import ENDPOINTS
from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book, transfer_body
from tests.contract.serving import KEY, Served

MIB = 1024 * 1024

MALFORMED = {
    "nothing": b"",
    "not JSON": b"entries=1",
    "a member twice": b'{"entries": [], "entries": []}',
    "a member twice, deep down": b'{"metadata": {"a": {"b": 1, "b": 2}}}',
    "a member twice, once escaped": b'{"pending": false, "\\u0070ending": true}',
    "NaN": b'{"entries": NaN}',
    "Infinity": b'{"entries": -Infinity}',
    "two values": b"{} {}",
    "a comment": b"{} // more",
    "a comma too many": b'{"entries": [],}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "not UTF-8": b'{"reference": "\xff"}',
    "a surrogate in UTF-8": b'{"reference": "\xed\xa0\x80"}',
    "UTF-16": '{"entries": []}'.encode("utf-16"),
    "a control character": b'{"reference": "\x00"}',
    "too deep": b"[" * 100_000 + b"]" * 100_000,
}


def send(
    book: Book, content: bytes, media_type: str | None = "application/json", key: str = "k"
) -> httpx2.Response:
    headers = {"Idempotency-Key": key, **({} if media_type is None else {"Content-Type": media_type})}
    return book.client.post(f"{book.path}/transactions", content=content, headers=headers)


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_strict_json_is_malformed(book: Book, content: bytes) -> None:
    answer = send(book, content)
    assert (answer.status_code, code_of(answer)) == (400, "malformed_json")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (MALFORMED["a member twice, deep down"], '"b"'),
        (MALFORMED["a member twice, once escaped"], '"pending"'),
        (b'{"x": 1, "b": 1, "a": 1, "a": 2, "b": 2}', '"b"'),
        (b'{"": 1, "": 2}', '""'),
        (b'{"\\ud800\\u0000\\"\\u2028": 1, "\\ud800\\u0000\\"\\u2028": 2}', r'"\ud800\u0000\"\u2028"'),
        (b'{"%s": 1, "%s": 2}' % (b"a" * 5000, b"a" * 5000), f'"{"a" * 255}"'),
        (b'{"x": [%s], "y": 1, "y": 2}' % b",".join([b"1"] * 2000), '"y"'),
    ],
)
def test_a_member_that_appears_twice_is_named(book: Book, content: bytes, name: str) -> None:
    answer = send(book, content)
    assert (answer.status_code, code_of(answer)) == (400, "malformed_json")
    assert answer.json()["detail"] == f"The member {name} appears twice in one object."


@pytest.mark.parametrize("content", [b"null", b"[]", b'"text"', b"1", b"true", b"1e400"])
def test_json_that_is_no_object_has_the_wrong_shape(book: Book, content: bytes) -> None:
    assert pointers_of(send(book, content)) == [""]


@pytest.mark.parametrize(
    "amount", [b"1e2", b"1E0", b"1.0", b"-0", b"1e400", b"100000000000000000000", b"9" * 5000]
)
def test_only_plain_integers_are_amounts(book: Book, amount: bytes) -> None:
    content = json.dumps(transfer_body()).encode().replace(b"10", amount)
    assert pointers_of(send(book, content)) == ["/entries/0/amount", "/entries/1/amount"]


@pytest.mark.parametrize(
    ("member", "pointer"),
    [
        ('"reference": "a\\u0000b"', "/reference"),
        ('"reference": "\\ud800"', "/reference"),
        ('"description": "\\udc00\\ud800"', "/description"),
        ('"metadata": {"k": "\\u0000"}', "/metadata/k"),
        ('"metadata": {"\\u0000": "v"}', "/metadata"),
        ('"metadata": {"\\udfff": "v"}', "/metadata"),
        ('"\\u0000": 1', ""),
    ],
)
def test_text_that_cannot_be_stored_is_refused(book: Book, member: str, pointer: str) -> None:
    content = json.dumps(transfer_body())[:-1] + ", " + member + "}"
    assert pointers_of(send(book, content.encode())) == [pointer]


def test_escaped_characters_are_their_characters(book: Book) -> None:
    content = json.dumps(transfer_body())[:-1] + ', "reference": "\\ud83d\\ude00\\u00e9\\\\u0000"}'
    assert send(book, content.encode()).json()["reference"] == "😀é\\u0000"


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "application/json",
        "Application/JSON; Charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/json;",
        "application/merge-patch+json",
    ],
)
def test_media_types_of_json(book: Book, media_type: str | None) -> None:
    assert send(book, json.dumps(transfer_body()).encode(), media_type).status_code == 201


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "text/json",
        "application/json; charset=latin-1",
        "application/json, application/json",
        "json",
        "application/json; charset=utf-16",
        "multipart/form-data; boundary=x",
        "",
    ],
)
def test_other_media_types(book: Book, media_type: str) -> None:
    answer = send(book, json.dumps(transfer_body()).encode(), media_type)
    assert (answer.status_code, code_of(answer)) == (415, "unsupported_media_type")
    assert answer.headers["accept"] == answer.headers["accept-post"] == "application/json"
    assert "application/json" in answer.json()["detail"]
    changed = book.client.patch(
        f"{book.path}/accounts/a", content=b"{}", headers={"Content-Type": media_type}
    )
    assert (changed.status_code, code_of(changed)) == (415, "unsupported_media_type")
    assert changed.headers["accept-patch"] == "application/json"


CODED = gzip.compress(json.dumps(transfer_body()).encode())


@pytest.mark.parametrize(
    "coding", ["gzip", "GZIP", "deflate", "br", "zstd", "x-gzip", "identity, gzip", "gzip, identity"]
)
@pytest.mark.parametrize("content", [CODED, json.dumps(transfer_body()).encode()], ids=["coded", "plain"])
def test_a_body_that_is_said_to_be_coded(book: Book, coding: str, content: bytes) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json", "Content-Encoding": coding}
    answer = book.client.post(f"{book.path}/transactions", content=content, headers=headers)
    assert (answer.status_code, code_of(answer)) == (415, "unsupported_media_type")
    assert answer.headers["accept-encoding"] == "identity"
    assert "identity" in answer.json()["detail"]
    assert code_of(book.operation("k")) == "operation_unknown"


@pytest.mark.parametrize("coding", ["identity", "Identity", "", "identity, identity"])
def test_a_body_that_is_said_to_be_as_it_is(book: Book, coding: str) -> None:
    headers = {"Idempotency-Key": "k", "Content-Encoding": coding}
    answer = book.client.post(f"{book.path}/transactions", json=transfer_body(), headers=headers)
    assert answer.status_code == 201


def test_no_route_takes_a_coded_body(book: Book) -> None:
    for endpoint in ENDPOINTS:
        if endpoint.declared.body and not endpoint.declared.is_signed:
            path = re.sub(r"{(\w+)}", lambda found: book.name if found[1] == "ledger" else "x", endpoint.path)
            headers = {"Idempotency-Key": "k", "Content-Encoding": "gzip"}
            answer = book.client.request(endpoint.declared.method, path, content=CODED, headers=headers)
            assert (answer.status_code, code_of(answer)) == (415, "unsupported_media_type"), path


def test_a_body_that_says_it_is_too_large(book: Book) -> None:
    answer = send(book, b" " * (16 * MIB + 1))
    assert (answer.status_code, code_of(answer)) == (413, "body_too_large")


def test_a_body_that_turns_out_to_be_too_large(book: Book) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(17):
            yield b" " * MIB

    answer = book.client.post(f"{book.path}/transactions", content=parts(), headers={"Idempotency-Key": "k"})
    assert (answer.status_code, code_of(answer)) == (413, "body_too_large")


def test_the_largest_body(book: Book) -> None:
    content = json.dumps(transfer_body()).encode()
    assert send(book, content + b" " * (4 * MIB - len(content))).status_code == 201
    answer = send(book, content + b" " * (4 * MIB - len(content) + 1))
    assert (answer.status_code, code_of(answer)) == (413, "body_too_large")


def test_the_largest_batch(book: Book) -> None:
    items = [{"idempotency_key": "k", **transfer_body()}]
    content = json.dumps({"mode": "atomic", "transactions": items}).encode()
    path = f"{book.path}/transactions/batch"
    assert book.client.post(path, content=content + b" " * (16 * MIB - len(content))).status_code == 200
    answer = book.client.post(path, content=content + b" " * (16 * MIB - len(content) + 1))
    assert (answer.status_code, code_of(answer)) == (413, "body_too_large")


def test_the_largest_transaction_written_in_escapes(book: Book) -> None:
    address = "".join(f"\\u{ord(letter):04x}" for letter in "a")
    entry = '{"account": "%s", "direction": "%s", "amount": 1}'
    entries = ",".join(entry % (address, side) for side in ("debit", "credit") for _ in range(500))
    metadata = ",".join(f'"k{number}": "{"," * 512}"' for number in range(50))
    content = '{{"entries": [{}], "metadata": {{{}}}, "description": "{}"}}'.format(
        entries, metadata, "," * 1000
    )
    assert send(book, content.encode()).status_code == 201


UNKNOWN = ",".join(f'"member{number}": 1' for number in range(99))

MANY_FAULTS = {
    "unknown members": "{{{}}}".format(",".join(f'"m{number}": 1' for number in range(30_000))),
    "wrong entries": '{{"entries": [{}]}}'.format(",".join(["1"] * 1000)),
    "too many entries": '{{"entries": [{}]}}'.format(",".join(["1"] * 30_000)),
    "unknown members of entries": '{{"entries": [{}]}}'.format(",".join([f"{{{UNKNOWN}}}"] * 300)),
    "text that cannot be stored": '{{"a": [{}]}}'.format(",".join(['"\\u0000"'] * 30_000)),
    "names that cannot be stored": '{{"a": [{}]}}'.format(",".join(['{"\\u0000": 1}'] * 30_000)),
}


@pytest.mark.parametrize("content", MANY_FAULTS.values(), ids=MANY_FAULTS.keys())
def test_an_answer_names_at_most_100_errors(book: Book, content: str) -> None:
    answer = send(book, content.encode())
    assert 1 <= len(pointers_of(answer)) <= 100
    assert len(answer.content) < 50_000


def test_more_values_than_any_request_has(book: Book) -> None:
    answer = send(book, b'{"entries": [%s]}' % b",".join([b"1"] * 50_000))
    assert (answer.status_code, code_of(answer)) == (413, "body_too_large")


def test_a_body_nested_as_deep_as_the_parser_allows(book: Book) -> None:
    for depth in (65, 500, 900, 980, 990, 5000):
        content = b'{"reference": "\\u0041", "x": %s1%s}' % (b"[" * depth, b"]" * depth)
        assert code_of(send(book, content)) == "malformed_json"


def test_errors_of_a_later_part_of_a_batch_point_there(book: Book) -> None:
    items = [{"idempotency_key": f"k{number}", **transfer_body()} for number in range(50)]
    items[7]["unknown"] = 1
    items[49]["entries"][1]["amount"] = "{words}"
    assert pointers_of(book.batch(*items)) == ["/transactions/7/unknown", "/transactions/49/entries/1/amount"]


def test_the_body_of_an_unknown_provider_is_not_read(served: Served) -> None:
    address = urlsplit(served.url)
    with socket.create_connection((address.hostname or "", address.port or 80), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/providers/nosuch/callbacks HTTP/1.1\r\nHost: x\r\nContent-Length: 16000000\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")


def test_a_body_that_comes_in_parts(book: Book) -> None:
    content = json.dumps(transfer_body()).encode()
    answer = book.client.post(
        f"{book.path}/transactions",
        content=iter([content[:5], content[5:]]),
        headers={"Idempotency-Key": "k", "Content-Type": "application/json"},
    )
    assert answer.status_code == 201


def test_a_body_that_does_not_come_in_time(
    served: Served, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "BODY_TIMEOUT_SECONDS", 0.2)
    address = urlsplit(served.url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 80), timeout=10) as connection:
        connection.sendall(
            f"POST {book.path}/transactions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
            "Content-Type: application/json\r\nIdempotency-Key: k\r\nContent-Length: 100\r\n\r\n{".encode()
        )
        received = b""
        while part := connection.recv(65536):  # until it is closed
            received += part
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in received
