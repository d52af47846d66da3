"""What an assistant may be talked into: ids that are paths, unknown members, texts without end."""

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.contract.books import Book, transfer_body
from tests.contract.journals import Journal
from tests.contract.mcp.assistants import Assistant
from tests.contract.serving import KEY

TRAVERSING = [
    *("../keys", "..", ".", "", "main/../../keys", "%2e%2e", "%2F..%2Fkeys", "..;/keys", "a?dry_run=false"),
    *("a#b", "a\r\nX: y", "\0", "é" * 50, "{id}"),
]


@pytest.mark.parametrize("text", TRAVERSING)
def test_an_id_stays_in_its_place(
    book: Book, journal: Journal, reader: Assistant, writer: Assistant, text: str
) -> None:
    """No id makes another request of a call: each is refused here, or as the id that it is."""
    head = journal.head()
    for assistant in (reader, writer):
        for name in (
            "get_ledger",
            "list_entries",
            "get_operation",
            "get_webhook",
            "freeze_account",
            "revoke_key",
        ):
            known = assistant.tools()[name].input_schema["properties"]
            honest = {"ledger": book.name, "address": "a", "key": "k", "id": str(uuid4())}
            given = {argument: value for argument, value in honest.items() if argument in known}
            for hostile in given:
                told = assistant.call(name, **{**given, hostile: text})
                assert told["outcome"] in ("problem", "not_sent"), (name, hostile, told)
                assert told.get("body", {}).get("code") not in ("method_not_allowed", "forbidden")
                if text in ("", ".", ".."):
                    assert told["outcome"] == "not_sent"
    assert journal.head() == head


def test_unknown_arguments_and_members_are_refused(book: Book, journal: Journal, writer: Assistant) -> None:
    head = journal.head()
    asked = {"ledger": book.name, "idempotency_key": "k"}
    told = writer.call("post_transaction", **asked, body=transfer_body(), url="http://elsewhere")
    assert told["outcome"] == "not_sent" and "no argument url" in told["said"]
    bodies: list[Any] = [{**transfer_body(), "admin": True}, [], "text", 7, {}, {"entries": {}}]
    for body in bodies:
        told = writer.call("post_transaction", **asked, body=body)
        assert (told["outcome"], told["body"]["code"]) == ("problem", "invalid_request"), body
    for amount in (1.0, "10", True, 2**53, -1, 10**400):
        told = writer.call("post_transaction", **asked, body=transfer_body("a", "b", amount))
        assert told["body"]["code"] == "invalid_request", amount
    for key in ("a/b", "é", "a\nb", "x" * 256, 7.5, ["k"]):
        told = writer.call("post_transaction", **{**asked, "idempotency_key": key}, body=transfer_body())
        assert told["outcome"] in ("not_sent", "problem"), key
    not_quite_true: list[Any] = ["true", "True", 1, 0, "", [], {}]
    for dry_run in not_quite_true:
        told = writer.call("post_transaction", **asked, body=transfer_body(), dry_run=dry_run)
        assert told["outcome"] == "not_sent", dry_run
    filters: list[Any] = [{"page_size": [1]}, {"metadata": "a"}, {"metadata": {"a": {}}}, {"order": {"x": 1}}]
    for given in filters:
        told = writer.call("list_transactions", ledger=book.name, **given)
        assert told["outcome"] == "not_sent", given
    assert journal.head() == head


def test_huge_texts_are_refused_and_nothing_breaks(book: Book, journal: Journal, writer: Assistant) -> None:
    head = journal.head()
    asked = {"ledger": book.name, "idempotency_key": "k"}
    huge = "x" * (5 << 20)
    told = writer.call("open_account", ledger=book.name, body={"address": huge})
    assert told["outcome"] in ("problem", "unknown")
    for given in ({"ledger": huge}, {"ledger": "x" * 60_000}, {"ledger": book.name, "account": huge}):
        assert writer.call("list_transactions", **given)["outcome"] in ("not_sent", "problem")
    told = writer.call("post_transaction", **asked, body={**transfer_body(), "reference": "x" * 300})
    assert told["body"]["errors"][0]["pointer"] == "/reference"
    told = writer.call("post_transaction", **{**asked, "ledger": huge}, body=transfer_body())
    assert told["outcome"] == "not_sent"
    assert journal.head() == head and writer.call("get_liveness")["outcome"] == "read"


def test_no_answer_tells_the_key_that_it_is_called_with(book: Book, writer: Assistant) -> None:
    told: list[Any] = [
        writer.call("list_keys", page_size=1000),
        writer.call("get_ledger", ledger="x" * 70_000),
        writer.call("list_trail", page_size=1000),
        [tool.model_dump() for tool in writer.tools().values()],
        writer.texts(),
    ]
    assert KEY not in json.dumps(told, default=str)
