"""Balances at a time, across accounts, and of the whole ledger."""

from typing import Any

import pytest

from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book
from tests.contract.callers import Keys

DAYS = [f"2026-0{month}-01T00:00:00.000000Z" for month in (1, 2, 3)]


class Books:
    """A ledger of a test, read at the position of its last write."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.position = "0"

    def move(self, debited: str, credited: str, amount: int, **more: Any) -> dict[str, Any]:
        """Move an amount and return the transaction."""
        answer = self.book.transfer(debited, credited, amount, **more)
        assert answer.status_code == 201, answer.text
        self.position = answer.headers["ledger-position"]
        made: dict[str, Any] = answer.json()
        return made

    def read(self, path: str, **query: Any) -> Any:
        """Read a projection that has reached the last write."""
        answer = self.book.client.get(self.book.path + path, params={"min_position": self.position, **query})
        assert answer.status_code == 200, answer.text
        assert (
            int(self.position) <= int(answer.headers["ledger-position"]) <= int(answer.headers["ledger-head"])
        )
        body = answer.json()
        if "position" in body:
            assert body["position"] == int(answer.headers["ledger-position"])
        return body

    def balance(self, address: str, **query: Any) -> tuple[int, int, int]:
        """The posted balance of an account."""
        found = self.read(f"/accounts/{address}/balance", **query)
        return found["debits"], found["credits"], found["balance"]

    def totals(self, **query: Any) -> list[tuple[str, str]]:
        """The trial balance. Its sides are equal."""
        data = self.read("/trial-balance", **query)["data"]
        assert all(
            row["debits"] == row["credits"] and row.keys() == {"asset", "debits", "credits"} for row in data
        )
        return [(row["asset"], row["debits"]) for row in data]

    def groups(self, **query: Any) -> list[tuple[Any, ...]]:
        """The rows of a list of groups on one page."""
        page = self.read("/balances", **query)
        assert page["next_cursor"] is None
        return [tuple(row.values()) for row in page["data"]]


@pytest.fixture
def books(book: Book) -> Books:
    """A ledger with two accounts."""
    return Books(book)


def test_a_balance_is_shown_as_in_the_contract(books: Books) -> None:
    made = books.move("a", "b", 1050)
    body = books.read("/accounts/b/balance", at=made["recorded_at"])
    assert body == {
        "account": "b",
        "asset": "USD/2",
        "clock": "effective",
        "at": made["recorded_at"],
        "debits": 0,
        "credits": 1050,
        "balance": 1050,
        "position": body["position"],
    }


def test_a_balance_now(books: Books) -> None:
    assert books.balance("a") == (0, 0, 0)
    books.book.open("till", normal_side="debit")
    books.move("till", "a", 7)
    books.move("a", "till", 2)
    for clock in ("effective", "recorded"):
        assert books.balance("till", clock=clock) == (7, 2, 5)
        assert books.balance("a", clock=clock) == (2, 7, 5)
        assert books.balance("b", clock=clock) == (0, 0, 0)


@pytest.fixture
def dated(books: Books) -> Books:
    """The same books with transfers of 1, 2 and 4 whose effective order differs from their recorded order."""
    books.move("a", "b", 1, effective_at=DAYS[1])
    books.move("a", "b", 2, effective_at=DAYS[0])
    books.move("a", "b", 4, effective_at=DAYS[2])
    return books


@pytest.mark.parametrize(
    ("at", "balance"),
    [
        ("2025-12-31T23:59:59.999999Z", 0),
        (DAYS[0], 2),
        ("2026-01-01T01:00:00+01:00", 2),
        ("2026-01-31T23:59:59.999999Z", 2),
        (DAYS[1], 3),
        ("2026-02-28T23:59:59Z", 3),
        (DAYS[2], 7),
        ("0001-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59.999999Z", 7),
    ],
)
def test_by_the_effective_clock_the_time_is_inclusive(dated: Books, at: str, balance: int) -> None:
    assert dated.balance("b", at=at) == (0, balance, balance)
    assert dated.balance("a", at=at) == (balance, 0, -balance)
    assert dated.totals(at=at) == ([("USD/2", str(balance))] if balance else [])


def test_by_the_recorded_clock_the_time_is_inclusive(books: Books) -> None:
    first = books.move("a", "b", 1, effective_at=DAYS[1])["recorded_at"]
    second = books.move("a", "b", 2)["recorded_at"]
    assert first < second
    for at, balance in ((DAYS[2], 0), (first, 1), (second, 3)):
        assert books.balance("b", at=at, clock="recorded") == (0, balance, balance)
        assert books.totals(at=at, clock="recorded") == ([("USD/2", str(balance))] if balance else [])


def test_what_takes_effect_in_future_counts_from_then_on(books: Books) -> None:
    books.move("a", "b", 5)
    books.move("a", "b", 8, effective_at="2999-01-01T00:00:00Z")
    assert books.book.account("b").json()["balance"] == 13
    assert books.balance("b") == (0, 5, 5)
    assert books.balance("b", clock="recorded") == (0, 13, 13)
    assert books.balance("b", at="2999-01-01T00:00:00Z") == (0, 13, 13)
    assert books.totals() == [("USD/2", "5")]
    assert books.totals(clock="recorded") == [("USD/2", "13")]
    assert books.totals(at="2998-12-31T23:59:59.999999Z") == [("USD/2", "5")]


def test_a_trial_balance_is_by_asset(books: Books) -> None:
    body = books.read("/trial-balance")
    assert body["data"] == []
    for name in ("x", "y"):
        books.book.open(name, asset="JPY/0")
    assert books.totals() == []
    books.move("a", "b", 5)
    books.move("x", "y", 9, effective_at=DAYS[0])
    assert books.totals() == [("JPY/0", "9"), ("USD/2", "5")]
    assert books.totals(at=DAYS[0]) == [("JPY/0", "9")]


@pytest.fixture
def shelf(books: Books) -> Books:
    """Accounts at several depths, in two assets, of both sides."""
    for address in ("users", "users:al:cash", "users:al:shop", "users:bo:cash", "users-2:x", "fees:all"):
        books.book.open(address)
    books.book.open("users:al:yen", asset="JPY/0", normal_side="debit")
    books.book.open("till:yen", asset="JPY/0")
    books.move("a", "users:al:cash", 100)
    books.move("users:al:cash", "users:al:shop", 30)
    books.move("users:al:shop", "users:bo:cash", 20)
    books.move("users:bo:cash", "fees:all", 1)
    books.move("a", "users", 4)
    books.move("a", "users-2:x", 8)
    books.move("users:al:yen", "till:yen", 500)
    return books


GROUPED = [
    ("a", "USD/2", 1, "112", "0", "-112"),
    ("b", "USD/2", 1, "0", "0", "0"),
    ("fees:all", "USD/2", 1, "0", "1", "1"),
    ("till:yen", "JPY/0", 1, "0", "500", "500"),
    ("users", "USD/2", 1, "0", "4", "4"),
    ("users-2:x", "USD/2", 1, "0", "8", "8"),
    ("users:al", "JPY/0", 1, "500", "0", "-500"),
    ("users:al", "USD/2", 2, "50", "130", "80"),
    ("users:bo", "USD/2", 1, "1", "20", "19"),
]


def test_a_group_is_shown_as_in_the_contract(shelf: Books) -> None:
    page = shelf.read("/balances", prefix="users:al:", asset="USD/2", group_by="segment:2")
    assert page == {
        "data": [
            {
                "group": "users:al",
                "asset": "USD/2",
                "accounts": 2,
                "debits": "50",
                "credits": "130",
                "balance": "80",
            }
        ],
        "next_cursor": None,
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"group_by": "segment:2"}, GROUPED),
        ({"group_by": "segment:2", "prefix": "users"}, GROUPED[4:]),
        ({"group_by": "segment:2", "prefix": "users:"}, GROUPED[6:]),
        ({"group_by": "segment:2", "prefix": "users:al", "asset": "JPY/0"}, GROUPED[6:7]),
        ({"group_by": "segment:2", "prefix": "nobody"}, []),
        ({"group_by": "segment:2", "asset": "EUR/2"}, []),
        (
            {"group_by": "segment:1", "prefix": "users"},
            [
                ("users", "JPY/0", 1, "500", "0", "-500"),
                ("users", "USD/2", 4, "51", "154", "103"),
                ("users-2", "USD/2", 1, "0", "8", "8"),
            ],
        ),
        ({"group_by": "segment:10", "prefix": "users:b"}, [("users:bo:cash", "USD/2", 1, "1", "20", "19")]),
        ({}, [(None, "JPY/0", 2, "500", "500", "0"), (None, "USD/2", 8, "163", "163", "0")]),
        (
            {"prefix": "users:", "group_by": ""},
            [(None, "JPY/0", 1, "500", "0", "-500"), (None, "USD/2", 3, "51", "150", "99")],
        ),
    ],
)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_accounts_are_grouped_by_segments_and_asset(
    shelf: Books, order: str, query: dict[str, str], expected: list[tuple[Any, ...]]
) -> None:
    assert shelf.groups(order=order, **query) == (expected if order == "asc" else expected[::-1])


@pytest.mark.parametrize("group_by", ["segment:2", ""])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_groups_are_read_page_by_page(shelf: Books, order: str, group_by: str) -> None:
    whole = shelf.groups(order=order, group_by=group_by)
    found: list[tuple[Any, ...]] = []
    query: dict[str, Any] = {"page_size": 1}
    while True:
        page = shelf.read("/balances", order=order, group_by=group_by, **query)
        found += [tuple(row.values()) for row in page["data"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == whole


@pytest.mark.parametrize(
    "other", [{"group_by": "segment:1"}, {"order": "desc"}, {"prefix": "users"}, {"asset": "USD/2"}]
)
def test_a_cursor_of_other_groups(shelf: Books, other: dict[str, str]) -> None:
    query: dict[str, Any] = {"group_by": "segment:2", "page_size": 1}
    cursor = shelf.read("/balances", **query)["next_cursor"]
    answer = shelf.book.client.get(f"{shelf.book.path}/balances", params={**query, "cursor": cursor, **other})
    assert (answer.status_code, code_of(answer)) == (400, "cursor_mismatch")
    answer = shelf.book.client.get(f"{shelf.book.path}/balances?cursor=nonsense")
    assert (answer.status_code, code_of(answer)) == (400, "cursor_invalid")


BALANCE, TRIAL, GROUPS = "/accounts/a/balance", "/trial-balance", "/balances"


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        (f"{BALANCE}?at=yesterday", "?at"),
        (f"{BALANCE}?at=2026-01-01", "?at"),
        (f"{BALANCE}?at=", "?at"),
        (f"{BALANCE}?clock=wall", "?clock"),
        (f"{BALANCE}?until=1", "?until"),
        (f"{BALANCE}?min_position=-1", "?min_position"),
        (f"{TRIAL}?at=2026-01-01T00:00:00.0000001Z", "?at"),
        (f"{TRIAL}?clock=", "?clock"),
        (f"{TRIAL}?asset=USD/2", "?asset"),
        (f"{GROUPS}?group_by=segment:0", "?group_by"),
        (f"{GROUPS}?group_by=segment:11", "?group_by"),
        (f"{GROUPS}?group_by=segment:", "?group_by"),
        (f"{GROUPS}?group_by=asset", "?group_by"),
        (f"{GROUPS}?prefix=a%20b", "?prefix"),
        (f"{GROUPS}?asset=usd", "?asset"),
        (f"{GROUPS}?page_size=0", "?page_size"),
        (f"{GROUPS}?order=up", "?order"),
        (f"{GROUPS}?at=2026-01-01T00:00:00Z", "?at"),
    ],
)
def test_what_is_asked_for_is_checked(book: Book, path: str, pointer: str) -> None:
    assert pointers_of(book.client.get(book.path + path)) == [pointer]


@pytest.mark.parametrize("path", [BALANCE, TRIAL, GROUPS])
def test_a_position_that_is_not_reached(book: Book, path: str) -> None:
    answer = book.client.get(f"{book.path}{path}?min_position={2**62}", headers={"Prefer": "wait=0"})
    assert (answer.status_code, code_of(answer)) == (503, "projection_behind")


def test_what_is_missing(book: Book) -> None:
    for address in ("nobody", "a%20b"):
        answer = book.client.get(f"{book.path}/accounts/{address}/balance?min_position={2**62}")
        assert (answer.status_code, code_of(answer)) == (404, "account_not_found")
    for path in (BALANCE, TRIAL, GROUPS):
        answer = book.client.get(f"/v1/ledgers/nowhere{path}")
        assert (answer.status_code, code_of(answer)) == (404, "ledger_not_found")


def test_who_may_read(book: Book, keys: Keys) -> None:
    auditor = keys.client("auditor", ledgers=[book.name])
    operator = keys.client("operator", ledgers=["*"])
    for path in (BALANCE, TRIAL, GROUPS):
        assert auditor.get(book.path + path).status_code == 200
        assert code_of(operator.get(book.path + path)) == "forbidden"
