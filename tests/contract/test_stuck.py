"""Stuck resources over HTTP and in the metrics: oldest first, page by page, only for those who may see them."""

from typing import Any
from uuid import uuid4

import httpx2
import pytest

from projections.running.pace import MAX_BATCH_EVENTS
from projections.running.positions import NEXT_EVENTS, WITHHELD
from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book, transfer_body
from tests.contract.callers import Keys
from tests.contract.journals import Journal
from tests.contract.serving import Served
from tests.projecting import eventually

EAGER = {"request_seconds": "0", "hold_seconds": "0", "delivery_seconds": "0"}


def stuck(client: httpx2.Client, **query: Any) -> dict[str, Any]:
    answer = client.get("/v1/stuck", params={**EAGER, **query})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def of_book(body: dict[str, Any], book: Book) -> list[dict[str, Any]]:
    return [found for found in body["data"] if found["ledger"] == book.name]


def test_nothing_is_stuck_that_is_carried_out(book: Book) -> None:
    assert book.post(transfer_body(), "one", Prefer="respond-async").status_code == 202
    eventually(lambda: book.operation("one").json()["state"] == "completed")
    eventually(lambda: not of_book(stuck(book.client), book))


def test_it_is_paged_by_age(book: Book, keys: Keys) -> None:
    hooks = []
    for number in range(3):
        body = {"url": f"https://93.184.216.34/{number}", "ledgers": [book.name], "types": ["*"]}
        hooks.append(book.client.post("/v1/webhooks", json=body).json()["id"])
    book.transfer("a", "b", 1)
    operator = keys.client("operator", ledgers=[book.name])

    def waiting(**query: Any) -> list[str]:
        data = stuck(operator, projection_seconds=3600, **query)["data"]
        return [each["resource"] for each in data if each["kind"] == "delivery_waiting"]

    expected = {f"/v1/webhooks/{hook}" for hook in hooks}
    eventually(lambda: set(waiting()) == expected)
    for order in ("asc", "desc"):
        paged: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = stuck(operator, projection_seconds=3600, page_size=1, order=order, **cursor)
            assert len(page["data"]) <= 1
            paged += [each["resource"] for each in page["data"] if each["kind"] == "delivery_waiting"]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert paged == waiting(order=order)
    of_kind = stuck(operator, projection_seconds=0, kind="delivery_waiting", page_size=2)
    assert [each["kind"] for each in of_kind["data"]] == ["delivery_waiting"] * 2
    assert of_kind["next_cursor"]
    assert not stuck(operator, kind="hold_lapsed")["data"]
    totals = {total["kind"]: total for total in stuck(operator, kind="hold_lapsed")["totals"]}
    assert totals["delivery_waiting"]["count"] == 3
    assert totals["delivery_waiting"]["oldest_age_seconds"] > 0
    metrics = book.client.get("/metrics").text
    assert 'tallystick_stuck{kind="delivery_waiting"}' in metrics
    assert 'tallystick_stuck_oldest_age_seconds{kind="projection_halted"}' in metrics
    # A caller without every ledger of a webhook does not see the webhook.
    other = keys.client("operator", ledgers=["another"])
    assert not [each for each in stuck(other)["data"] if each["kind"] == "delivery_waiting"]
    for hook in hooks:
        book.client.delete(f"/v1/webhooks/{hook}")


def test_an_error_is_told_to_who_was_granted_all_that_it_may_quote(
    served: Served, book: Book, keys: Keys, journal: Journal
) -> None:
    other = f"l{uuid4().hex[:12]}"
    assert book.client.post("/v1/ledgers", json={"name": other}).status_code == 201
    quoting = "ValueError: users:alice of " + book.name
    operators = {
        name: keys.client("operator", ledgers=ledgers)
        for name, ledgers in {"its": [book.name], "other": [other], "all": ["*"], "none": []}.items()
    }
    both = keys.client("auditor", ledgers=[book.name, other])
    position = int(book.transfer("a", "b", 1).headers["ledger-position"])
    seen = book.client.get(f"{book.path}/accounts/b/entries?min_position={position}")
    assert seen.status_code == 200
    journal.pause("entries")
    try:
        book.transfer("a", "b", 1)
        with served.database.connect_as_owner("test owner") as owner:
            owner.execute(
                "UPDATE projection_versions SET state = 'halted', last_error = %s WHERE name = 'entries' AND live",
                (quoting,),
            )
        for name, asks in operators.items():
            error = quoting if name in ("its", "all") else WITHHELD
            assert told(asks) == (error, error, True), name
        # From now on what comes next is of both.
        post = {"address": "c", "asset": "USD/2", "normal_side": "credit"}
        assert book.client.post(f"/v1/ledgers/{other}/accounts", json=post).status_code == 201
        assert told(operators["its"]) == (WITHHELD, WITHHELD, True)
        assert told(both) == told(operators["all"]) == (quoting, quoting, True)
    finally:
        journal.resume("entries")


def told(asks: httpx2.Client) -> tuple[str, str, bool]:
    """The error of a projection that is told where one is looked at, in the list, and whether of what is stuck."""
    looked_at = asks.get("/v1/projections/entries").json()["last_error"]
    listed = {each["name"]: each["last_error"] for each in asks.get("/v1/projections").json()["data"]}
    (halted,) = (each for each in stuck(asks)["data"] if each["resource"] == "/v1/projections/entries")
    return looked_at, listed["entries"], halted["why"].endswith(f"Its error: {looked_at}.")


@pytest.mark.parametrize(
    "name", ["request_seconds", "hold_seconds", "payout_seconds", "delivery_seconds", "projection_seconds"]
)
@pytest.mark.parametrize("value", ["-1", "1.5", "x", "", "999999999999"])
def test_ages_are_whole_seconds(client: httpx2.Client, name: str, value: str) -> None:
    assert pointers_of(client.get("/v1/stuck", params={name: value})) == [f"?{name}"]


def test_an_unknown_kind_is_refused(client: httpx2.Client) -> None:
    assert pointers_of(client.get("/v1/stuck", params={"kind": "lost"})) == ["?kind"]


def test_a_cursor_belongs_to_its_ages(client: httpx2.Client) -> None:
    answer = client.get("/v1/stuck", params={"cursor": "x"})
    assert (answer.status_code, code_of(answer)) == (400, "cursor_invalid")


def test_an_error_is_of_no_event_beyond_those_that_are_looked_at() -> None:
    assert NEXT_EVENTS >= MAX_BATCH_EVENTS
