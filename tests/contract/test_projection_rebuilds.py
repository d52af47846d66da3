"""Rebuilds over HTTP: requested, watched, stopped by a difference, accepted, cancelled, paused, resumed."""

from collections.abc import Iterator
from time import monotonic
from typing import Any

import httpx2
import psycopg
import pytest

from projections.running.positions import WITHHELD
from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book
from tests.contract.callers import Keys
from tests.contract.serving import Served, serving
from tests.databases import Databases
from tests.projecting import eventually

pytestmark = [pytest.mark.contract, pytest.mark.integration]


@pytest.fixture(scope="module")
def served(databases: Databases) -> Iterator[Served]:
    """A separate service, because these tests damage its projections."""
    with serving(databases) as running:
        yield running


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[httpx2.Client]:
    """A client with every role."""
    with served.client() as opened:
        yield opened


@pytest.fixture(scope="module")
def book(client: httpx2.Client) -> Book:
    """A ledger in which money was moved."""
    client.post("/v1/ledgers", json={"name": "main"})
    book = Book(client, "main")
    for address in ("a", "b"):
        book.open(address)
    moved = book.transfer("a", "b", 5)
    for path in ("accounts", "accounts/a/entries", "transactions"):
        query = {"min_position": moved.headers["ledger-position"]}
        assert client.get(f"{book.path}/{path}", params=query).status_code == 200
    return book


class Rebuilds:
    """The rebuilds of one projection, over HTTP."""

    def __init__(self, client: httpx2.Client, name: str) -> None:
        self._client = client
        self._path = f"/v1/projections/{name}"

    def show(self) -> dict[str, Any]:
        """The projection."""
        found: dict[str, Any] = self._client.get(self._path).json()
        return found

    def post(self, verb: str = "", **body: Any) -> httpx2.Response:
        """Request a rebuild, or control the one under way."""
        return self._client.post(f"{self._path}/rebuild{verb}", json=body)

    def await_state(self, state: str | None) -> dict[str, Any]:
        """Wait until a rebuild is in this state (None: until there is no rebuild) and return the projection."""

        def is_there() -> bool:
            rebuild = self.show()["rebuild"]
            return bool((rebuild and rebuild["state"]) == state)

        eventually(is_there)
        return self.show()


@pytest.fixture
def entries(client: httpx2.Client, book: Book) -> Rebuilds:
    """The rebuilds of `entries`. None is under way."""
    rebuilds = Rebuilds(client, "entries")
    assert rebuilds.post("/cancel").status_code == 200
    return rebuilds


def damage(served: Served, version: int) -> None:
    with psycopg.connect(served.database.conninfo("test"), autocommit=True) as connection:
        connection.execute(f"UPDATE entries_v{version:d} SET change = change - 1".encode())


def test_a_rebuild_is_asked_for_and_replaces_what_it_equals(entries: Rebuilds, client: httpx2.Client) -> None:
    before = entries.show()
    assert before["rebuild"] is None
    asked = entries.post(reason="an audit")
    assert asked.status_code == 202
    rebuild = asked.json()["rebuild"]
    assert asked.json()["version"] == before["version"]
    assert rebuild["version"] > before["version"]
    assert (rebuild["requested_by"], rebuild["reason"], rebuild["comparison"]) == (
        "bootstrap",
        "an audit",
        None,
    )
    assert (rebuild["position"], rebuild["target"]) == (0, before["position"])
    after = entries.await_state(None)
    assert after["version"] == rebuild["version"]
    assert after["state"] == "running"
    assert {
        "version": before["version"],
        "shape": 2,
        "state": "retired",
        "position": before["position"],
    } in after["unread_versions"]
    listed = client.get("/v1/projections").json()["data"]
    assert next(projection for projection in listed if projection["name"] == "entries") == {
        **after,
        "lag_seconds": 0,
        "rate_events_per_second": pytest.approx(after["rate_events_per_second"], abs=1e6),
    }


def test_a_body_is_not_needed(entries: Rebuilds, client: httpx2.Client) -> None:
    assert client.post("/v1/projections/entries/rebuild").status_code == 202
    entries.await_state(None)


def test_a_difference_is_shown_and_accepted_with_a_reason(
    entries: Rebuilds, served: Served, book: Book, client: httpx2.Client, keys: Keys
) -> None:
    before = entries.show()
    damage(served, before["version"])
    assert entries.post().status_code == 202
    shown = entries.await_state("differing")
    rebuild = shown["rebuild"]
    assert shown["version"] == before["version"]
    assert rebuild["compared_position"] == before["position"]
    compared = {comparison["live_table"]: comparison for comparison in rebuild["comparison"]}
    of_entries = compared[f"entries_v{before['version']}"]
    assert not of_entries["equal"]
    assert (of_entries["live_rows"], of_entries["rebuilt_rows"]) == (2, 2)
    assert {row.split(":")[0] for row in of_entries["differing"]} == {
        "only in the live version",
        "only in the rebuilt version",
    }
    assert compared[f"turnovers_v{before['version']}"]["equal"]
    assert (rebuild["difference_expected"], rebuild["seconds_left"]) == (None, None)
    # The rows are of any ledger, and so is the text that an error quotes.
    with served.database.connect_as_owner("test owner") as owner:
        owner.execute("UPDATE rebuilds SET last_error = 'a row of main' WHERE name = 'entries'")
    for ledgers, error in ((["main"], WITHHELD), ([], WITHHELD), (["*"], "a row of main")):
        told = Rebuilds(keys.client("auditor", ledgers=ledgers), "entries").show()["rebuild"]
        assert told["last_error"] == error
        compared = {comparison["live_table"]: comparison for comparison in told["comparison"]}
        seen = of_entries["differing"] if ledgers == ["*"] else []
        assert compared[of_entries["live_table"]] == {**of_entries, "differing": seen}
    # Reads use the live version until the difference is accepted.
    assert entries.post(accept_difference="it was damaged").status_code == 202
    after = entries.await_state(None)
    assert after["version"] == rebuild["version"]
    statement = client.get(f"{book.path}/accounts/a/entries").json()["data"]
    assert [entry["amount"] for entry in statement] == [5]


def test_what_was_stopped_is_begun_anew_or_cancelled(entries: Rebuilds, served: Served, keys: Keys) -> None:
    before = entries.show()
    damage(served, before["version"])
    entries.post()
    first = entries.await_state("differing")["rebuild"]["version"]
    assert entries.post().json()["rebuild"]["version"] == first + 1
    entries.await_state("differing")
    for _ in range(2):
        cancelled = entries.post("/cancel", reason="looked at it")
        assert cancelled.status_code == 200
        assert (cancelled.json()["rebuild"], cancelled.json()["version"]) == (None, before["version"])
    entries.post(accept_difference="it was damaged")
    assert entries.await_state(None)["version"] == first + 2


def test_a_rebuild_is_paused_and_resumed(entries: Rebuilds, client: httpx2.Client, served: Served) -> None:
    for verb in ("/pause", "/resume"):
        answer = entries.post(verb)
        assert (answer.status_code, code_of(answer)) == (409, "rebuild_not_under_way")
    # A locked version cannot be caught up, so there is time to pause the rebuild.
    with psycopg.connect(served.database.conninfo("test")) as connection:
        connection.execute("SELECT FROM projection_versions WHERE name = 'entries' AND live FOR UPDATE")
        rebuild = entries.post().json()["rebuild"]
        for _ in range(2):
            paused = entries.post("/pause", reason="too busy")
            assert paused.status_code == 200
            rebuild = paused.json()["rebuild"]
            assert (rebuild["state"], rebuild["controlled_by"], rebuild["control_reason"]) == (
                "paused",
                "bootstrap",
                "too busy",
            )
    assert entries.post().json()["rebuild"]["version"] == rebuild["version"]
    assert entries.show()["rebuild"]["state"] == "paused"
    assert entries.post("/resume").status_code == 200
    assert entries.await_state(None)["version"] == rebuild["version"]


@pytest.mark.parametrize("verb", ["", "/cancel", "/pause", "/resume"])
def test_a_projection_that_does_not_exist_has_no_rebuild(client: httpx2.Client, verb: str) -> None:
    for name in ("nothing", "%00"):
        answer = Rebuilds(client, name).post(verb)
        assert (answer.status_code, code_of(answer)) == (404, "projection_not_found")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"accept_difference": ""}, "/accept_difference"),
        ({"accept_difference": " "}, "/accept_difference"),
        ({"accept_difference": True}, "/accept_difference"),
        ({"reason": "x" * 501}, "/reason"),
        ({"force": True}, "/force"),
    ],
)
def test_what_is_asked_is_checked(client: httpx2.Client, body: dict[str, Any], pointer: str) -> None:
    assert pointers_of(client.post("/v1/projections/entries/rebuild", json=body)) == [pointer]


def test_auditors_look_and_operators_act(entries: Rebuilds, keys: Keys) -> None:
    auditor = keys.client("auditor", ledgers=["*"])
    assert Rebuilds(auditor, "entries").show()["rebuild"] is None
    for verb in ("", "/cancel", "/pause", "/resume"):
        assert Rebuilds(auditor, "entries").post(verb).status_code == 403
    operator = keys.client("operator", ledgers=["*"])
    asked = Rebuilds(operator, "entries").post()
    assert (asked.status_code, asked.json()["rebuild"]["requested_by"]) == (202, keys.last_name)
    entries.await_state(None)


@pytest.mark.parametrize(
    ("locking", "method", "path"),
    [
        ("SELECT FROM projections WHERE name = 'entries' FOR UPDATE", "POST", "/entries/rebuild"),
        ("SELECT FROM projections WHERE name = 'entries' FOR UPDATE", "POST", "/entries/rebuild/cancel"),
        ("LOCK TABLE projection_versions", "GET", ""),
        ("LOCK TABLE rebuilds", "GET", "/entries"),
    ],
)
def test_who_is_kept_waiting_by_a_lock_is_told_so(
    entries: Rebuilds, served: Served, client: httpx2.Client, locking: str, method: str, path: str
) -> None:
    with served.database.connect_as_owner("test lock") as stranger:
        stranger.execute(f"BEGIN; {locking}")
        began = monotonic()
        answer = client.request(method, f"/v1/projections{path}")
        assert monotonic() - began < 15
        assert (answer.status_code, code_of(answer)) == (503, "journal_unavailable")
        assert answer.json()["reason"] == "locked"
        assert "holds a lock" in answer.json()["detail"]
        assert int(answer.headers["retry-after"]) > 0
    # Nothing of it is kept, and it is taken as soon as nobody is in the way.
    assert entries.show()["rebuild"] is None
    assert client.request(method, f"/v1/projections{path}").status_code in (200, 202)
    entries.await_state(None)
