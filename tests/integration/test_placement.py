"""One service over several installations: each request goes to the installation of its ledger."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from api.service import believed_keys
from domain.journal.database import Database
from domain.placement.installations import Installation
from domain.placement.ledger_map import LedgerMap, LedgersConflict, enter, held
from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.contract.answers import code_of, pointers_of
from tests.databases import Databases
from tests.placements import Placement, beside, placement_on, prepared
from tests.projecting import eventually

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def placement(databases: Databases) -> Iterator[Placement]:
    """Two installations, east and west, on one database. Each test has ledgers of its own."""
    with databases.installed() as database:
        installations = beside(database, "east", "west")
        prepared(installations)
        with placement_on(installations) as running:
            yield running


@pytest.fixture
def client(placement: Placement) -> Iterator[httpx2.Client]:
    with placement.client() as client:
        yield client


@pytest.fixture
def books() -> str:
    return f"books-{uuid4().hex[:8]}"


@pytest.fixture
def payroll() -> str:
    return f"payroll-{uuid4().hex[:8]}"


def open_book(client: httpx2.Client, ledger: str, **where: str) -> httpx2.Response:
    """Open a ledger with two accounts, `a` and `b`, that may go below zero. The answer is that of the ledger."""
    opened = client.post("/v1/ledgers", json={"name": ledger, **where})
    assert opened.status_code == 201, opened.text
    for address in ("a", "b"):
        account = {"address": address, "asset": "USD/2", "normal_side": "credit", "min_balance": None}
        answer = client.post(f"/v1/ledgers/{ledger}/accounts", json=account)
        assert answer.status_code == 201, answer.text
    return opened


def transfer(client: httpx2.Client, ledger: str, amount: int, key: str) -> httpx2.Response:
    entries = [
        {"account": "a", "direction": "debit", "amount": amount},
        {"account": "b", "direction": "credit", "amount": amount},
    ]
    path = f"/v1/ledgers/{ledger}/transactions"
    return client.post(path, json={"entries": entries}, headers={"Idempotency-Key": key})


def ledgers_in(database: Database) -> list[str]:
    with database.connect("test") as connection:
        return list(held(connection))


class TestRequests:
    def test_each_ledger_is_in_its_own_installation(
        self, placement: Placement, client: httpx2.Client, books: str, payroll: str
    ) -> None:
        at_home, in_west = open_book(client, books), open_book(client, payroll, installation="west")
        assert at_home.json()["installation"] == at_home.headers["Ledger-Installation"] == "east"
        assert in_west.json()["installation"] == in_west.headers["Ledger-Installation"] == "west"
        for ledger, installation in ((books, "east"), (payroll, "west")):
            posted = transfer(client, ledger, 500, "one")
            assert (posted.status_code, posted.headers["Ledger-Installation"]) == (201, installation)
            again = transfer(client, ledger, 500, "one")
            assert (again.content, again.headers["idempotent-replayed"]) == (posted.content, "true")
            position = posted.headers["Ledger-Position"]
            path = f"/v1/ledgers/{ledger}/accounts/b/entries?min_position={position}"
            read = client.get(path, headers={"Prefer": "wait=20"})
            assert [entry["amount"] for entry in read.json()["data"]] == [500]
            shown: dict[str, Any] = client.get(f"/v1/ledgers/{ledger}").json()
            assert shown["installation"] == installation == read.headers["Ledger-Installation"]
            held_there = ledgers_in(placement.database(installation))
            assert [name for name in held_there if name in (books, payroll)] == [ledger]

    def test_a_refusal_names_the_installation_too(self, client: httpx2.Client, payroll: str) -> None:
        open_book(client, payroll, installation="west")
        refused = client.get(f"/v1/ledgers/{payroll}/accounts/nobody")
        assert (code_of(refused), refused.headers["Ledger-Installation"]) == ("account_not_found", "west")

    def test_a_batch_goes_to_the_installation_of_its_ledger(
        self, client: httpx2.Client, payroll: str
    ) -> None:
        open_book(client, payroll, installation="west")
        entries = [
            {"account": "a", "direction": "debit", "amount": 1},
            {"account": "b", "direction": "credit", "amount": 1},
        ]
        items = [{"idempotency_key": str(n), "entries": entries} for n in range(3)]
        answer = client.post(
            f"/v1/ledgers/{payroll}/transactions/batch", json={"mode": "independent", "transactions": items}
        )
        assert [result["status"] for result in answer.json()["results"]] == [201] * 3
        assert answer.headers["Ledger-Installation"] == "west"

    def test_a_ledger_that_no_installation_holds_is_not_found(self, client: httpx2.Client) -> None:
        assert code_of(client.get("/v1/ledgers/nowhere")) == "ledger_not_found"
        assert code_of(transfer(client, "nowhere", 1, "k")) == "ledger_not_found"

    def test_a_key_may_be_granted_a_ledger_of_any_installation(
        self, placement: Placement, client: httpx2.Client, payroll: str
    ) -> None:
        open_book(client, payroll, installation="west")
        wanted = {"name": f"clerk-{payroll}", "roles": ["client"], "ledgers": [payroll]}
        made = client.post("/v1/keys", json=wanted)
        assert made.status_code == 201, made.text
        with placement.client(made.json()["key"]) as clerk:
            assert transfer(clerk, payroll, 1, "k").status_code == 201
            assert code_of(clerk.get("/v1/ledgers/books")) == "forbidden"
        unknown = client.post("/v1/keys", json={**wanted, "name": f"other-{payroll}", "ledgers": ["nowhere"]})
        assert pointers_of(unknown) == ["/ledgers/0"]

    def test_installations_are_listed(
        self, placement: Placement, client: httpx2.Client, payroll: str
    ) -> None:
        _, before = client.get("/v1/installations").json()["data"]
        open_book(client, payroll, installation="west")
        east, west = client.get("/v1/installations").json()["data"]
        assert (east["name"], east["is_home"], east["is_ready"]) == ("east", True, True)
        assert (west["name"], west["is_home"], west["reason"]) == ("west", False, None)
        assert (west["head"], west["ledgers"]) == (before["head"] + 4, before["ledgers"] + 1)
        assert west["migration"] == east["migration"]


class TestOpening:
    def test_an_unknown_installation_is_refused(self, client: httpx2.Client) -> None:
        answer = client.post("/v1/ledgers", json={"name": "books", "installation": "north"})
        assert (code_of(answer), pointers_of(answer)) == ("invalid_request", ["/installation"])

    def test_repeating_it_finds_the_ledger_where_it_is(self, client: httpx2.Client, payroll: str) -> None:
        made = {"name": payroll, "installation": "west"}
        opened = client.post("/v1/ledgers", json=made)
        for again in (made, {"name": payroll}):
            answer = client.post("/v1/ledgers", json=again)
            assert (answer.status_code, answer.json()) == (200, opened.json())
        elsewhere = client.post("/v1/ledgers", json={**made, "installation": "east"})
        assert (elsewhere.status_code, code_of(elsewhere)) == (409, "ledger_exists")
        assert elsewhere.json()["detail"] == f"The ledger {payroll} belongs to the installation west."
        assert (elsewhere.json()["differs"], elsewhere.json()["installation"]) == (["installation"], "west")

    @pytest.mark.parametrize("again", [{"installation": "west"}, {}])
    def test_a_claim_that_a_crash_left_is_finished(
        self, placement: Placement, client: httpx2.Client, payroll: str, again: dict[str, str]
    ) -> None:
        """The process that claimed the ledger died before it opened it."""
        with placement.database("east").connect("test") as home:
            assert LedgerMap().claim(home, payroll, "west") == "west"
        refused = client.get(f"/v1/ledgers/{payroll}")
        assert (refused.status_code, code_of(refused)) == (503, "ledger_missing")
        opened = client.post("/v1/ledgers", json={"name": payroll, **again})
        assert (opened.status_code, opened.json()["installation"]) == (201, "west")

    def test_of_two_claims_one_is_granted(self, placement: Placement, payroll: str) -> None:
        with (
            placement.database("east").connect("test", autocommit=False) as first,
            placement.database("east").connect("test") as second,
        ):
            assert LedgerMap().claim(first, payroll, "west") == "west"
            first.commit()
            assert LedgerMap().claim(second, payroll, "east") == "west"


class TestJoining:
    def test_ledgers_that_an_installation_brings_are_entered(self, database: Database) -> None:
        """Both were services of their own before."""
        east, west = beside(database, "east", "west")
        for alone, ledger in ((east, "books"), (west, "payroll")):
            prepared([alone])
            with placement_on([alone]) as running, running.client() as client:
                open_book(client, ledger)
        clear(database)
        prepared([east, west])
        with placement_on([east, west]) as running, running.client() as client:
            for ledger, installation in (("books", "east"), ("payroll", "west")):
                assert transfer(client, ledger, 1, "k").headers["Ledger-Installation"] == installation

    def test_two_ledgers_of_one_name_are_refused(self, database: Database) -> None:
        east, west = beside(database, "east", "west")
        for alone in (east, west):
            prepared([alone])
            with placement_on([alone]) as running, running.client() as client:
                open_book(client, "main")
        with east.database.connect("test") as home, west.database.connect("test") as joining:
            with pytest.raises(LedgersConflict) as conflict:
                enter(home, "west", [*held(joining), "payroll"])
            assert str(conflict.value) == (
                "two installations have a ledger of the same name: main (in west and east)"
            )
            assert LedgerMap().find(home, "payroll") is None


def clear(database: Database) -> None:
    """Forget the map, as an installation has none that was no home before."""
    with database.connect_as_owner("test") as owner:
        owner.execute("DELETE FROM placements")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    """Two PostgreSQL servers. Each test leaves them running, and has schemas of its own."""
    with ExitStack() as stack:
        made = []
        for name in ("east", "west"):
            server = EmbeddedPostgres(tmp_path_factory.mktemp(name))
            stack.callback(server.stop)
            server.start()
            made.append(server)
        yield made[0], made[1]


class TestTwoServers:
    """Each installation is on a server of its own, and one of the servers is stopped."""

    @pytest.fixture
    def apart(self, servers: tuple[EmbeddedPostgres, EmbeddedPostgres]) -> Iterator[Placement]:
        schema = f"books_{uuid4().hex[:8]}"
        installations = [
            Installation(name, Database(server.url, schema))
            for name, server in zip(("east", "west"), servers, strict=True)
        ]
        prepared(installations)
        with placement_on(installations) as running:
            yield running

    def test_without_west_the_others_go_on(
        self, servers: tuple[EmbeddedPostgres, EmbeddedPostgres], apart: Placement
    ) -> None:
        _, west = servers
        with apart.client() as client:
            open_book(client, "books")
            open_book(client, "payroll", installation="west")
            west.stop()
            assert transfer(client, "books", 1, "during").status_code == 201
            assert client.get("/readyz").status_code == 200
            for answer in (client.get("/v1/ledgers/payroll"), transfer(client, "payroll", 1, "k")):
                assert (code_of(answer), answer.json()["reason"]) == ("journal_unavailable", "unreachable")
            assert transfer(client, "books", 1, "later").status_code == 201
            shown = {found["name"]: found for found in client.get("/v1/installations").json()["data"]}
            assert (shown["west"]["is_ready"], shown["west"]["head"]) == (False, None)
            assert shown["east"]["is_ready"]
            west.start()
            eventually(lambda: transfer(client, "payroll", 1, "k").status_code == 201)

    def test_without_home_the_others_go_on_for_as_long_as_keys_are_believed(
        self,
        servers: tuple[EmbeddedPostgres, EmbeddedPostgres],
        apart: Placement,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        east, _ = servers
        with apart.client() as client, apart.client("tk_of_nobody") as nobody:
            open_book(client, "books")
            open_book(client, "payroll", installation="west")
            east.stop()
            for n in range(5):
                assert transfer(client, "payroll", 1, str(n)).status_code == 201
            assert client.get("/readyz").status_code == 200
            assert code_of(transfer(client, "books", 1, "k")) == "journal_unavailable"
            assert code_of(nobody.get("/v1/ledgers/payroll")) == "journal_unavailable"
            opened = client.post("/v1/ledgers", json={"name": "other", "installation": "west"})
            assert code_of(opened) == "journal_unavailable"
            monkeypatch.setattr(believed_keys, "BELIEVED_SECONDS", 0.0)
            assert code_of(transfer(client, "payroll", 1, "after")) == "journal_unavailable"
            assert client.get("/readyz").status_code == 503
            east.start()
            eventually(lambda: transfer(client, "books", 1, "k").status_code == 201)
            assert code_of(nobody.get("/v1/ledgers/payroll")) == "unauthenticated"
            assert transfer(client, "payroll", 1, "after").status_code == 201
