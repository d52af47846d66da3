"""What an assistant may change: nothing without --allow-writes, and with it once, whatever is lost."""

from typing import Any
from uuid import uuid4

from tests.contract.books import Book, transfer_body
from tests.contract.journals import Journal
from tests.contract.mcp.assistants import Assistant
from tests.faulty_proxy import Fault, FaultyProxy
from tests.projecting import eventually


def test_without_writes_nothing_gets_into_the_journal(
    book: Book, journal: Journal, reader: Assistant, writer: Assistant
) -> None:
    """Every tool that would change something is called with its own example."""
    head = journal.head()
    called: dict[str, dict[str, Any]] = {}
    for name, tool in writer.tools().items():
        schema = tool.input_schema["properties"]
        if tool.annotations and tool.annotations.read_only_hint:
            continue
        arguments: dict[str, Any] = {"ledger": book.name, "idempotency_key": uuid4().hex}
        arguments |= dict.fromkeys(("id", "delivery"), str(uuid4())) | {"address": "a", "name": "entries"}
        arguments |= {"body": schema["body"]["examples"][0] if "body" in schema else None}
        called[name] = reader.call(name, **{key: value for key, value in arguments.items() if key in schema})
    sent = {name for name, told in called.items() if told["outcome"] != "not_sent"}
    assert sent == {
        *("post_transaction", "post_batch", "settle_hold", "void_hold", "reverse_transaction"),
        *("request_payout", "retry_dead_letter"),
    }
    for name in called.keys() - sent:
        assert "--allow-writes" in called[name]["said"], name
    assert journal.head() == head


def test_a_dry_run_tells_what_would_be(book: Book, journal: Journal, reader: Assistant) -> None:
    head = journal.head()
    body = transfer_body("a", "b", 7)
    for more in ({}, {"dry_run": True}):
        told = reader.call("post_transaction", ledger=book.name, idempotency_key="k", body=body, **more)
        assert told["outcome"] == "would_be_carried_out" and told["body"]["id"] == book.id_of("k")
    refused = reader.answer(
        "post_transaction", ledger=book.name, idempotency_key="k", body=transfer_body("a", "nobody", 7)
    )
    assert refused.is_error and refused.structured_content["body"]["code"] == "account_not_found"
    book.client.patch(f"{book.path}/accounts/a", json={"min_balance": 0})
    head = journal.head()
    broke = reader.call("post_transaction", ledger=book.name, idempotency_key="k", body=body)
    assert broke["outcome"] == "would_be_refused" and broke["body"]["shortfall"] == 7
    items = [{"idempotency_key": "k", **body}]
    batch = reader.call("post_batch", ledger=book.name, body={"mode": "independent", "transactions": items})
    assert batch["outcome"] == "would_be_carried_out" and batch["body"]["results"][0]["status"] == 409
    refused_here = reader.call(
        "post_transaction", ledger=book.name, idempotency_key="k", body=body, dry_run=False
    )
    assert refused_here["outcome"] == "not_sent" and "--allow-writes" in refused_here["said"]
    assert journal.head() == head
    assert book.operation("k").status_code == 404


def test_a_write_is_carried_out_once_under_its_key(book: Book, journal: Journal, writer: Assistant) -> None:
    asked = {"ledger": book.name, "idempotency_key": "k", "body": transfer_body("a", "b", 7)}
    first = writer.call("post_transaction", **asked)
    assert first["outcome"] == "completed" and first["idempotency_key"] == "k"
    assert first["body"] == book.transaction(book.id_of("k")).json()
    head = journal.head()
    again = writer.call("post_transaction", **asked)
    assert again["outcome"] == "completed" and "before" in again["said"]
    other = writer.call("post_transaction", **{**asked, "body": transfer_body("a", "b", 8)})
    assert other["outcome"] == "problem" and other["body"]["code"] == "idempotency_key_reused"
    assert journal.head() == head and book.amounts("b") == (0, 7, 0, 0)
    # In quotes, as a header may have it, it is the same key.
    assert writer.call("post_transaction", **{**asked, "idempotency_key": '"k"'})["body"] == first["body"]


def test_a_write_without_a_key_is_given_one_and_not_sent(
    book: Book, journal: Journal, writer: Assistant
) -> None:
    head = journal.head()
    told = writer.call("post_transaction", ledger=book.name, body=transfer_body())
    assert told["outcome"] == "not_sent" and journal.head() == head
    key = told["said"].partition("new one: ")[2].split(".")[0]
    done = writer.call("post_transaction", ledger=book.name, body=transfer_body(), idempotency_key=key)
    assert done["outcome"] == "completed" and done["body"]["id"] == book.id_of(key)


def test_a_refusal_is_final_under_its_key(book: Book, writer: Assistant) -> None:
    book.open("poor", min_balance=0)
    asked = {"ledger": book.name, "idempotency_key": "k", "body": transfer_body("poor", "b", 7)}
    refused = writer.answer("post_transaction", **asked)
    assert refused.is_error and refused.structured_content["outcome"] == "refused"
    book.transfer("a", "poor", 100)
    assert writer.call("post_transaction", **asked)["body"]["code"] == "insufficient_funds"


def test_what_is_only_accepted_is_not_called_completed(
    book: Book, nothing_due: Journal, hurried: Assistant
) -> None:
    asked = {"ledger": book.name, "idempotency_key": "k", "body": transfer_body(), "prefer": "respond-async"}
    eventually(lambda: hurried.call("post_transaction", **asked)["outcome"] == "accepted")
    assert book.operation("k").json()["state"] == "accepted"
    assert book.transaction(book.id_of("k")).status_code == 404


def test_a_payout_is_accepted_and_then_ends(book: Book, writer: Assistant) -> None:
    book.open("alice")
    book.transfer("a", "alice", 100)
    body = {"account": "alice", "amount": 40, "provider": "simulator", "destination": {"iban": uuid4().hex}}
    told = writer.call("request_payout", ledger=book.name, idempotency_key="p", body=body)
    assert told["outcome"] == "completed" and told["body"]["state"] == "completed"
    assert told["body"]["history"][0]["time"].endswith("Z")


def test_changes_without_a_key(book: Book, writer: Assistant) -> None:
    body = {"address": "c", "asset": "USD/2", "normal_side": "credit"}
    opened = writer.call("open_account", ledger=book.name, body=body)
    assert opened["outcome"] == "completed" and opened["status"] == 201
    etag = opened["headers"]["ETag"]
    frozen = writer.call("freeze_account", ledger=book.name, address="c", if_match=etag)
    assert frozen["body"]["status"] == "frozen"
    late = writer.call("unfreeze_account", ledger=book.name, address="c", if_match=etag)
    assert (late["outcome"], late["body"]["code"]) == ("problem", "version_mismatch")
    name = f"shop {uuid4().hex[:8]}"
    made = writer.call("make_key", body={"name": name, "roles": ["auditor"], "ledgers": [book.name]})
    assert made["body"]["key"].startswith("tk_")
    assert made["body"]["key"] not in str(writer.call("list_keys", page_size=1000))
    revoked = writer.call("revoke_key", id=made["body"]["id"])
    assert revoked["outcome"] == "completed" and "body" not in revoked


def test_a_write_whose_answers_are_lost_is_found_by_its_key(
    book: Book, proxy: FaultyProxy, proxied: Assistant
) -> None:
    for lost in (1, 3):
        key = f"lost {lost} times".replace(" ", "-")
        proxy.plan([Fault.ANSWER_LOST] * lost)
        body = transfer_body("a", "b", 7)
        told = proxied.call("post_transaction", ledger=book.name, idempotency_key=key, body=body)
        assert proxy.planned == 0
        assert told["outcome"] == "completed" and told["body"]["id"] == book.id_of(key)
    assert book.amounts("b") == (0, 14, 0, 0)


def test_when_no_answer_comes_in_time_the_key_is_what_remains(
    book: Book, proxy: FaultyProxy, hurried: Assistant, writer: Assistant
) -> None:
    asked = {"ledger": book.name, "idempotency_key": "k", "body": transfer_body("a", "b", 7)}
    proxy.plan([Fault.ANSWER_WITHHELD] * 50)
    told = hurried.call("post_transaction", **asked)
    proxy.plan([])
    assert told["outcome"] == "unknown" and told["idempotency_key"] == "k"
    assert "get_operation" in told["said"]
    assert writer.call("post_transaction", **asked)["outcome"] == "completed"
    assert book.amounts("b") == (0, 7, 0, 0)


def test_a_change_without_a_key_is_never_sent_twice(
    book: Book, proxy: FaultyProxy, proxied: Assistant
) -> None:
    body = {"address": "c", "asset": "USD/2", "normal_side": "credit"}
    proxy.plan([Fault.ANSWER_LOST, Fault.REQUEST_LOST])
    told = proxied.call("open_account", ledger=book.name, body=body)
    assert told["outcome"] == "unknown" and proxy.planned == 1
    assert proxied.call("get_account", ledger=book.name, address="c")["outcome"] == "unanswered"
    assert proxied.call("get_account", ledger=book.name, address="c")["outcome"] == "read"
