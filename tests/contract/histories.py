"""The history of a ledger over HTTP."""

from typing import Any

from tests.contract.books import Book


def events(book: Book, **parameters: Any) -> list[dict[str, Any]]:
    """A page of the history, as of the newest position or later."""
    answer = book.client.get(f"{book.path}/events", params={"page_size": 1000, **parameters})
    assert answer.status_code == 200, answer.text
    assert answer.headers["ledger-position"] == answer.headers["ledger-head"]
    found: list[dict[str, Any]] = answer.json()["data"]
    return found
