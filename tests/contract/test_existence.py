"""Lists of what does not exist, of what the projection has not read yet, and what it costs to tell the two apart."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import Any
from uuid import uuid4

import pytest
from psycopg import Connection

from domain.journal.read_connections import Readers
from tests.contract.answers import code_of
from tests.contract.books import Book
from tests.contract.serving import Served

STATEMENTS_OF = {
    "/accounts": 4,
    "/accounts/a/entries": 4,
    "/accounts/a?consistency=eventual": 4,
    "/balances": 4,
    "/payouts": 4,
    "/transactions": 4,
    # The time that "now" means is one more.
    "/trial-balance": 5,
}
"""How many statements a read takes, each one round trip: BEGIN, the position, the rows, COMMIT."""

ROUND_TRIP = re.compile(r"\tF\t\d+\t(?:Query|Sync)\b")
"""A message of the client, the frontend, after which it waits for the server."""

OF_LEDGERS = [*STATEMENTS_OF, "/events"]


@pytest.fixture
def paused(served: Served) -> Iterator[None]:
    """All projections are paused meanwhile."""

    def set_state(former: str, state: str) -> None:
        with served.database.connect("test") as connection:
            connection.execute(
                "UPDATE projection_versions SET state = %s WHERE state = %s AND live", (state, former)
            )

    set_state("running", "paused")
    yield
    set_state("paused", "running")


@pytest.mark.parametrize("query", ["", "min_position=4611686018427387904"])
@pytest.mark.parametrize("path", OF_LEDGERS)
def test_a_list_of_an_unknown_ledger_is_not_found(book: Book, path: str, query: str) -> None:
    answer = book.client.get(f"/v1/ledgers/nowhere{path}{'&' if '?' in path else '?'}{query}")
    assert code_of(answer) == "ledger_not_found"
    assert answer.json()["ledger"] == "nowhere"


def test_a_statement_of_an_unknown_account_is_not_found(book: Book) -> None:
    answer = book.client.get(f"{book.path}/accounts/nobody/entries")
    assert code_of(answer) == "account_not_found"
    assert answer.json()["account"] == "nobody"
    assert code_of(book.client.get("/v1/ledgers/nowhere/accounts/a/entries")) == "ledger_not_found"


def test_a_stream_as_events_of_an_unknown_ledger_is_not_found(book: Book) -> None:
    answer = book.client.get("/v1/ledgers/nowhere/events", headers={"Accept": "application/x-ndjson"})
    assert code_of(answer) == "ledger_not_found"


@pytest.mark.usefixtures("paused")
@pytest.mark.parametrize("path", [path for path in OF_LEDGERS if "eventual" not in path])
def test_a_list_of_what_was_just_made_is_empty_while_the_projection_lags(book: Book, path: str) -> None:
    new = Book(book.client, f"l{uuid4().hex[:12]}")
    assert book.client.post("/v1/ledgers", json={"name": new.name}).status_code == 201
    opened = new.open("a")
    answer = book.client.get(f"{new.path}{path}")
    assert answer.status_code == 200
    listed = answer.json()["data"]
    if path == "/events":  # they are read from the journal itself
        assert listed[-1]["payload"]["normal_side"] == opened["normal_side"]
        return
    assert listed == []
    assert int(answer.headers["ledger-position"]) < int(answer.headers["ledger-head"])


@pytest.mark.usefixtures("paused")
def test_a_new_account_has_an_empty_statement_while_the_projection_lags(book: Book) -> None:
    book.open("later")
    assert book.client.get(f"{book.path}/accounts/later/entries").json()["data"] == []
    assert code_of(book.client.get(f"{book.path}/accounts/never/entries")) == "account_not_found"
    assert code_of(book.account("later?consistency=eventual")) == "account_not_found"


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What each reader and the server say to each other while it has a connection, as libpq traces it."""
    traced: list[str] = []
    lend = Readers.connection

    @contextmanager
    def lend_traced(readers: Readers) -> Iterator[Connection[Any]]:
        with lend(readers) as connection, TemporaryFile("w+") as file:
            connection.pgconn.trace(file.fileno())
            try:
                yield connection
            finally:
                connection.pgconn.untrace()
                file.seek(0)
                traced.append(file.read())

    monkeypatch.setattr(Readers, "connection", lend_traced)
    return traced


@pytest.mark.parametrize("path", STATEMENTS_OF)
def test_a_list_takes_few_statements(book: Book, path: str, traces: list[str]) -> None:
    position = book.transfer("a", "b", 1).headers["ledger-position"]
    size = "" if "eventual" in path or "trial" in path else "page_size=1&"
    asked = f"{book.path}{path}{'&' if '?' in path else '?'}{size}min_position="
    # What is asked for often is prepared the first time.
    assert book.client.get(f"{asked}{position}").status_code == 200
    traces.clear()
    assert book.client.get(f"{asked}{position}").status_code == 200
    (trace,) = [trace for trace in traces if book.name in trace]  # the service reads other things by itself
    assert len(ROUND_TRIP.findall(trace)) == STATEMENTS_OF[path]
