"""The list of transactions: each filter finds exactly what it names, on pages that stay stable under writes."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import uuid4

import httpx2
import pytest

from domain.model.holds import VoidHold
from domain.model.reversals import ReverseTransaction
from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book
from tests.contract.mixtures import NAMES, Mixture


def test_all_are_listed_oldest_first_in_the_shape_of_the_single_read(mixture: Mixture) -> None:
    listed = mixture.read().json()["data"]
    assert mixture.named(listed) == NAMES
    for shown in listed:
        assert shown == mixture.book.client.get(f"{mixture.path}/{shown['id']}").json()
    assert mixture.names(order="desc") == NAMES[::-1]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"account": "users-x"}, ["poor", "held"]),
        ({"account": "users:bob:wallet"}, ["dated", "settled", "settlement", "voided", "void", "reversed", "reversal"]),
        ({"account": "users"}, []),
        ({"prefix": "users:alice"}, ["dated", "settled", "settlement", "voided", "void"]),
        ({"prefix": "users-"}, ["poor", "held"]),
        ({"prefix": "users_"}, []),
        ({"prefix": "wallet"}, []),
        ({"prefix": "n", "account": "users-x"}, ["poor"]),
        ({"reference": "order-1"}, ["plain", "settlement"]),
        ({"reference": "order"}, []),
        ({"status": "posted"}, ["plain", "dated", "settlement", "void", "reversed", "reversal"]),
        ({"status": "pending"}, ["held"]),
        ({"status": "settled"}, ["settled"]),
        ({"status": "voided"}, ["voided"]),
        ({"status": "expired"}, []),
        ({"status": "rejected"}, ["poor"]),
        ({"kind": "posting"}, ["plain", "dated", "poor", "reversed"]),
        ({"kind": "hold"}, ["held", "settled", "voided"]),
        ({"kind": "settlement"}, ["settlement"]),
        ({"kind": "void"}, ["void"]),
        ({"kind": "reversal"}, ["reversal"]),
        ({"correlation_id": "conversation/dated"}, ["dated"]),
        ({"correlation_id": "conversation/accepted"}, []),
        ({"metadata.tier": "gold"}, ["plain", "dated"]),
        ({"metadata.a.b": ""}, ["plain"]),
        ({"metadata.tier": "gold", "metadata.n": "1"}, ["dated"]),
        ({"metadata.tier": "silver"}, []),
        ({"effective_to": "2020-02-01T00:00:00.000001Z"}, ["dated"]),
        ({"effective_to": "2020-02-01T00:00:00Z"}, []),
        ({"effective_from": "2020-02-01T01:00:00+01:00", "effective_to": "2021-01-01T00:00:00Z"}, ["dated"]),
        ({"recorded_to": "2021-01-01T00:00:00Z"}, []),
        ({"recorded_from": "2021-01-01T00:00:00Z"}, NAMES),
        ({"status": "posted", "kind": "posting", "prefix": "users:"}, ["dated", "reversed"]),
        ({"account": "b", "reference": "order-1", "metadata.tier": "gold"}, ["plain"]),
        (dict.fromkeys(("account", "prefix", "reference", "status", "kind", "correlation_id"), ""), NAMES),
        (dict.fromkeys(("recorded_from", "recorded_to", "effective_from", "effective_to"), ""), NAMES),
    ],
)  # fmt: skip
def test_each_filter_finds_what_it_names(mixture: Mixture, filters: dict[str, str], names: list[str]) -> None:
    assert mixture.names(**filters) == names
    assert mixture.names(**filters, order="desc") == names[::-1]


def test_bounds_of_recorded_time_are_from_inclusive_to_exclusive(mixture: Mixture) -> None:
    times = {
        name: transaction["recorded_at"]
        for name, transaction in zip(NAMES, mixture.read().json()["data"], strict=True)
    }
    for name, time in times.items():
        assert mixture.names(recorded_to=time) == [other for other in NAMES if times[other] < time]
        assert mixture.names(recorded_from=time) == [other for other in NAMES if times[other] >= time]
        assert mixture.names(effective_from=time) == [
            other for other in NAMES if times[other] >= time and other != "dated"
        ]
        assert name in mixture.names(recorded_from=time, kind="", order="desc")


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_have_everything_once_whatever_is_written_meanwhile(mixture: Mixture, order: str) -> None:
    """A transaction settled, voided or reversed after its page was read does not appear again, and none is left out."""
    pages: list[list[str]] = []
    cursor: dict[str, str] = {}
    while True:
        page = mixture.read(page_size=3, order=order, **cursor).json()
        pages.append([transaction["id"] for transaction in page["data"]])
        number = len(pages)
        if number == 1:
            mixture.perform(VoidHold(*mixture.request("late void"), mixture.ids["held"]))
            mixture.perform(ReverseTransaction(*mixture.request("late"), mixture.ids["plain"]))
        mixture.post(f"new-{number}", "a", "b")
        if number > 9 or page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    listed = [id for page in pages for id in page]
    assert len(listed) == len(set(listed))
    assert {len(page) for page in pages[:-1]} == {3}
    names = {id: name for name, id in mixture.ids.items()}
    found = [names[id] for id in listed if names[id] in NAMES]
    assert found == (NAMES if order == "asc" else NAMES[::-1])


def test_a_page_that_ends_with_the_list_is_the_last(mixture: Mixture) -> None:
    assert mixture.read(kind="hold", page_size=3).json()["next_cursor"] is None
    assert mixture.read(kind="hold", page_size=2).json()["next_cursor"] is not None


@pytest.mark.parametrize(
    "other",
    [
        {"order": "desc"},
        {"status": "posted"},
        {"kind": ""},
        {"kind": "hold", "metadata.a": ""},
        {"kind": "hold", "recorded_from": "2021-01-01T00:00:00Z"},
    ],
)
def test_a_cursor_belongs_to_its_filters_and_order(mixture: Mixture, other: dict[str, str]) -> None:
    cursor = mixture.read(kind="hold", page_size=1).json()["next_cursor"]
    answer = mixture.book.client.get(mixture.path, params={"cursor": cursor, **other})
    assert (answer.status_code, code_of(answer)) == (400, "cursor_mismatch")
    same = mixture.names(kind="hold", cursor=cursor, order="asc", account="", page_size=9)
    assert same == ["settled", "voided"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("account=a:", "?account"),
        ("account=a%20b", "?account"),
        (f"account={'a' * 256}", "?account"),
        ("prefix=a%25", "?prefix"),
        (f"prefix={'a' * 256}", "?prefix"),
        ("reference=%00", "?reference"),
        (f"reference={'x' * 256}", "?reference"),
        ("status=done", "?status"),
        ("kind=payout", "?kind"),
        ("correlation_id=a%20b", "?correlation_id"),
        ("correlation_id=%C3%A9", "?correlation_id"),
        (f"correlation_id={'x' * 129}", "?correlation_id"),
        ("metadata.a%20b=1", "?metadata.a b"),
        ("metadata.a=%00", "?metadata.a"),
        ("recorded_from=yesterday", "?recorded_from"),
        ("recorded_to=2026-01-01", "?recorded_to"),
        ("effective_from=2026-01-01T00:00:00", "?effective_from"),
        ("effective_to=2026-02-30T00:00:00Z", "?effective_to"),
        ("page_size=0", "?page_size"),
        ("dry_run=true", "?dry_run"),
        ("from=2026-01-01T00:00:00Z", "?from"),
    ],
)
def test_filters_that_cannot_be(book: Book, query: str, pointer: str) -> None:
    assert pointers_of(book.client.get(f"{book.path}/transactions?{query}")) == [pointer]


@pytest.mark.parametrize(
    "query",
    [
        {"reference": "ü" * 255, "correlation_id": "~" * 128, "account": "a" * 64},
        {"metadata." + "k" * 64: "ü" * 512},
        {f"metadata.{number}": "x" for number in range(99)},
    ],
)
def test_the_longest_values_and_the_most_are_taken(book: Book, query: dict[str, str]) -> None:
    book.transfer("a", "b", 1)
    answer = book.client.get(f"{book.path}/transactions", params=query)
    assert (answer.status_code, answer.json()) == (200, {"data": [], "next_cursor": None})


@pytest.mark.parametrize("place", ["0", '"1"', "1.0", "[1]", "null", str(2**63 - 1)])
def test_a_cursor_that_was_made_up(mixture: Mixture, place: str) -> None:
    cursor = mixture.read(page_size=1).json()["next_cursor"]
    listed = urlsafe_b64decode(cursor + "==").split(b",")[0]
    made_up = urlsafe_b64encode(listed + f",{place}]".encode()).decode()
    answer = mixture.book.client.get(mixture.path, params={"cursor": made_up})
    assert (answer.status_code, code_of(answer)) == (400, "cursor_invalid")


def test_every_write_can_be_read_back_at_its_position(book: Book) -> None:
    for count in range(1, 11):
        posted = book.transfer("a", "b", 1)
        position = posted.headers["ledger-position"]
        answer = book.client.get(f"{book.path}/transactions?order=desc&min_position={position}")
        assert len(answer.json()["data"]) == count
        assert answer.json()["data"][0] == posted.json()


def test_a_position_that_is_not_reached_in_time(book: Book) -> None:
    answer = book.client.get(f"{book.path}/transactions?min_position={2**62}", headers={"Prefer": "wait=0"})
    assert (answer.status_code, code_of(answer)) == (503, "projection_behind")
    assert answer.json()["state"] == "running"


def test_a_ledger_that_is_not_there(client: httpx2.Client) -> None:
    for name in (f"l{uuid4().hex[:12]}", "NO"):
        answer = client.get(f"/v1/ledgers/{name}/transactions?min_position={2**62}")
        assert (answer.status_code, code_of(answer)) == (404, "ledger_not_found")
