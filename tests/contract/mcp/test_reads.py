"""What an assistant reads: what the service answers, how fresh it is, and problems as they are."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.contract.books import Book, new_book
from tests.contract.callers import Keys
from tests.contract.journals import Journal
from tests.contract.mcp.assistants import Assistant, connected
from tests.contract.serving import Served, serving
from tests.databases import Databases
from tests.projecting import eventually


def test_a_read_is_what_the_service_answers(book: Book, reader: Assistant) -> None:
    book.transfer("a", "b", 7, key="k")
    told = reader.call("get_transaction", ledger=book.name, id=book.id_of("k"))
    assert told["outcome"] == "read" and told["status"] == 200
    assert told["body"] == book.transaction(book.id_of("k")).json()
    assert told["age_seconds"] == 0 and told["position"] == told["body"]["position"]
    assert told["answered_at"][:4] == told["body"]["recorded_at"][:4]
    assert told["headers"]["Correlation-Id"] and told["headers"]["ETag"]
    trace = reader.call("trace_operation", ledger=book.name, key="k")
    assert trace["body"]["verdict"]
    assert reader.call("get_operation", ledger=book.name, key="k")["body"]["retry"] == "unnecessary"
    unknown = reader.call("get_operation", ledger=book.name, key="never")
    assert unknown["outcome"] == "problem" and unknown["body"]["retry"] == "safe"


def test_filters_pages_and_metadata(book: Book, reader: Assistant) -> None:
    for number in range(3):
        book.transfer("a", "b", 1, key=f"k{number}", metadata={"order.id": str(number)})
    head = int(book.account("a").headers["ledger-position"])
    asked = {"ledger": book.name, "min_position": head, "prefer": "wait=30"}
    page = reader.call("list_transactions", **asked, page_size=2, order="desc")
    assert [shown["idempotency_key"] for shown in page["body"]["data"]] == ["k2", "k1"]
    cursor = page["body"]["next_cursor"]
    rest = reader.call("list_transactions", **asked, page_size=2, order="desc", cursor=cursor)
    assert [shown["idempotency_key"] for shown in rest["body"]["data"]] == ["k0"]
    found = reader.call("list_transactions", **asked, metadata={"order.id": "1"}, account=None)
    assert [shown["idempotency_key"] for shown in found["body"]["data"]] == ["k1"]


@pytest.fixture
def apart(databases: Databases) -> Iterator[tuple[Book, Journal, Assistant]]:
    """A service of its own: while another test's dead letter holds a stream, no answer of a list says its age."""
    with (
        serving(databases) as served,
        served.client() as client,
        connected(served.url) as reader,
        served.database.connect_as_owner("test owner") as owner,
    ):
        yield new_book(client), Journal(owner), reader


def test_an_answer_that_lags_says_how_old_it_is(apart: tuple[Book, Journal, Assistant]) -> None:
    """The age is that of the oldest event of this ledger which it lacks, whatever other ledgers did."""
    book, journal, reader = apart
    head = int(book.account("a").headers["ledger-position"])
    fresh = reader.call("list_transactions", ledger=book.name, min_position=head, prefer="wait=30")
    assert fresh["age_seconds"] == 0
    journal.pause("transactions")
    try:
        book.client.post("/v1/ledgers", json={"name": f"{book.name}-other"})
        elsewhere = reader.call("list_transactions", ledger=book.name)
        assert elsewhere["head"] > elsewhere["position"] and elsewhere["age_seconds"] == 0
        book.transfer("a", "b", 7)
        eventually(lambda: reader.call("list_transactions", ledger=book.name)["age_seconds"] > 0)
        # The account itself is read from the journal.
        assert reader.call("get_account", ledger=book.name, address="b")["age_seconds"] == 0
    finally:
        journal.resume("transactions")
    past = reader.call("get_account", ledger=book.name, address="b", at_position=head)
    assert past["position"] == head and past["age_seconds"] > 0


def test_text_answers_are_text(reader: Assistant) -> None:
    assert "tallystick_ready 1" in reader.call("get_metrics")["body"]
    page = reader.call("get_problem", code="insufficient_funds")
    assert page["outcome"] == "read" and "What to do" in page["body"]


def test_a_problem_is_passed_on(book: Book, reader: Assistant) -> None:
    answer = reader.answer("get_account", ledger=book.name, address="nobody")
    assert answer.is_error
    told = answer.structured_content
    assert told["outcome"] == "problem" and told["said"].startswith("account_not_found: ")
    assert told["body"]["code"] == "account_not_found" and "age_seconds" not in told
    invalid = reader.call("list_transactions", ledger=book.name, kind="gift")
    assert invalid["body"]["errors"][0]["pointer"] == "?kind"


def test_a_key_without_the_role_is_told_so(
    served: Served, book: Book, keys: Keys, client: httpx2.Client
) -> None:
    operator = keys.make("operator", ledgers=[book.name])["key"]
    with connected(served.url, "--allow-writes", key=operator) as assistant:
        for name, arguments in (
            ("get_account", {"address": "a"}),
            ("void_hold", {"id": book.id_of("k"), "idempotency_key": "k"}),
            ("open_account", {"body": {"address": "c", "asset": "USD/2", "normal_side": "credit"}}),
        ):
            told = assistant.call(name, ledger=book.name, **arguments)
            assert (told["outcome"], told["body"]["code"]) == ("problem", "forbidden")
    head = book.account("a").headers["ledger-position"]
    with connected(served.url, key="tk_nobody") as assistant:
        told = assistant.call("list_stuck")
        assert (told["outcome"], told["body"]["code"]) == ("problem", "unauthenticated")
    assert book.account("a").headers["ledger-position"] == head
