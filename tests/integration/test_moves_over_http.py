"""A client of a placement does not notice that its ledger moves: answers, positions and cursors stay what they were."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from api.app import create_app
from api.security.keys import ensure_bootstrap_key
from api.settings import Settings
from domain.journal.database import Database
from domain.journal.shown_positions import read_shown_positions
from domain.placement import mover, moves
from domain.placement.copies import last_of_ledger
from domain.placement.ledger_map import take
from domain.placement.mover import Mover
from projections.process_managers.providers.settings import ProviderSettings
from projections.running.moved_ledgers import MovedLedgers
from projections.running.positions import PositionWaiter
from tests.contract.serving import KEY, SECRET, listening, running_server
from tests.ledgers import CONTEXT
from tests.moving import Killed, dying
from tests.placements import Placement, beside, placement_on, prepared
from tests.projecting import await_head, eventually

pytestmark = pytest.mark.integration

MAIN = "/v1/ledgers/main"
NOTHING = "b911c162-7512-5bee-9816-e264126b280a"
"""An id that nothing has."""


@pytest.fixture
def placement(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Placement]:
    """A placement on two installations, of which the second has some events of its own."""
    monkeypatch.setattr(mover, "KNOWN_SECONDS", 1.5)
    placed = beside(database, "east", "west")
    prepared(placed)
    with placement_on(placed) as placement:
        yield placement


def opened(client: httpx2.Client, ledger: str, installation: str, *addresses: str) -> None:
    client.post("/v1/ledgers", json={"name": ledger, "installation": installation}).raise_for_status()
    for address in addresses:
        body = {"address": address, "asset": "USD/2", "normal_side": "credit"}
        client.post(f"/v1/ledgers/{ledger}/accounts", json=body).raise_for_status()


def posted(client: httpx2.Client, key: str, amount: int = 1) -> httpx2.Response:
    entries = [
        {"account": account, "direction": direction, "amount": amount}
        for account, direction in (("a", "debit"), ("b", "credit"))
    ]
    body = {"entries": entries, "reference": key}
    return client.post(f"{MAIN}/transactions", json=body, headers={"Idempotency-Key": key})


def moved(placement: Placement, old: str = "east", new: str = "west") -> None:
    """Move the ledger main, and change the map."""
    places = {found.name: found for found in placement.installations}
    Mover("main", places[old], places[new], CONTEXT).run()
    with placement.installations[0].database.connect("test") as home:
        take(home, new, ["main"])


def projected(placement: Placement) -> None:
    for _, database in placement.installations:
        with database.connect("test") as connection:
            await_head(connection)


def position_of(answer: httpx2.Response) -> int:
    return int(answer.raise_for_status().headers["Ledger-Position"])


def items(client: httpx2.Client, path: str, **params: Any) -> list[Any]:
    """All items of a list, page by page."""
    found: list[Any] = []
    while True:
        page = client.get(f"{MAIN}{path}", params={"page_size": 3, **params}).raise_for_status().json()
        found += page["data"]
        if page["next_cursor"] is None:
            return found
        params["cursor"] = page["next_cursor"]


def story(client: httpx2.Client, marks: list[int], since: str) -> dict[str, Any]:
    """What the service says of the ledger up to its last mark."""
    said: dict[str, Any] = {
        "accounts": items(client, "/accounts"),
        "entries": items(client, "/accounts/b/entries"),
        "entries, newest first": items(client, "/accounts/b/entries", order="desc"),
        "transactions": items(client, "/transactions"),
        "transactions, newest first": items(client, "/transactions", order="desc"),
        "operation": client.get(f"{MAIN}/operations/key-1").json(),
    }
    for order in ("asc", "desc"):
        events = items(client, "/events", order=order)
        said[f"events {order}"] = [event for event in events if event["position"] <= marks[-1]]
    said["events since"] = [
        event for event in items(client, "/events", **{"from": since}) if event["position"] <= marks[-1]
    ]
    said["events after"] = [
        event for event in items(client, "/events", after=marks[1]) if event["position"] <= marks[-1]
    ]
    lines = client.get(f"{MAIN}/events", headers={"Accept": "application/x-ndjson"}).text.splitlines()
    said["lines"] = [event for line in lines if (event := json.loads(line))["position"] <= marks[-1]]
    for mark in marks:
        account = client.get(f"{MAIN}/accounts/b", params={"at_position": mark}).raise_for_status()
        said[f"at {mark}"] = account.json(), account.headers["Ledger-Position"]
        eventual = {"consistency": "eventual", "min_position": str(mark)}
        said[f"since {mark}"] = client.get(f"{MAIN}/accounts/b", params=eventual).raise_for_status().json()
    return said


def test_a_client_does_not_notice_that_its_ledger_moves(placement: Placement) -> None:
    with placement.client() as client:
        opened(client, "beside", "east", *"uvwxyz")
        opened(client, "main", "east", "a", "b")
        opened(client, "other", "west")
        first = posted(client, "key-0")
        marks = [position_of(first)]
        for number in range(1, 9):
            if number % 2:
                opened(client, f"beside-{number}", "east")
            marks.append(position_of(posted(client, f"key-{number}")))
        since = client.get(f"{MAIN}/operations/key-4").json()["accepted_at"]
        refused = client.post(
            f"{MAIN}/transactions",
            json={"entries": []},
            headers={"Idempotency-Key": "key-3"},
        )
        projected(placement)
        before = story(client, marks, since)
        cursors = [
            (path, client.get(f"{MAIN}{path}", params={"page_size": 2}).json()["next_cursor"])
            for path in ("/transactions", "/events", "/accounts/b/entries")
        ]
        rest = [client.get(f"{MAIN}{path}", params={"cursor": cursor}).json() for path, cursor in cursors]

        moved(placement)
        projected(placement)
        assert story(client, marks, since) == before
        for (path, cursor), page in zip(cursors, rest, strict=True):
            after = client.get(f"{MAIN}{path}", params={"cursor": cursor}).raise_for_status().json()["data"]
            assert after[: len(page["data"])] == page["data"]
        again = posted(client, "key-0")
        assert (again.json(), again.headers["Idempotent-Replayed"]) == (first.json(), "true")
        assert again.headers["Ledger-Installation"] == "west"
        assert refused.status_code == 422

        newest = position_of(posted(client, "new"))
        assert newest > marks[-1]
        balances = client.get(f"{MAIN}/balances", params={"min_position": newest}).raise_for_status()
        assert int(balances.headers["Ledger-Position"]) >= newest
        assert int(balances.headers["Ledger-Head"]) >= int(balances.headers["Ledger-Position"])
        seen = client.get(f"{MAIN}/events", params={"after": newest - 1}).json()["data"]
        assert [event["position"] for event in seen] == [newest]
        ahead = client.get(f"{MAIN}/accounts/b", params={"min_position": newest + 100})
        assert (ahead.status_code, ahead.json()["code"]) == (503, "projection_behind")
        assert ahead.json()["head"] >= newest

        moved(placement, "west", "east")
        projected(placement)
        assert story(client, [*marks, newest], since)["at " + str(newest)][0]["balance"] == 10
        assert position_of(posted(client, "home-again")) > newest
        past = ("at ", "events", "lines", "operation")
        after = story(client, marks, since)
        assert [after[told] for told in before if told.startswith(past)] == [
            before[told] for told in before if told.startswith(past)
        ]


def test_every_read_of_a_ledger_comes_from_where_it_is(placement: Placement) -> None:
    """Also from a server that does not know of the move yet: the map is changed last."""
    with placement.client() as client:
        opened(client, "main", "east", "a", "b")
        posted(client, "before")
        places = {found.name: found for found in placement.installations}
        Mover("main", places["east"], places["west"], CONTEXT).run()
        projected(placement)
        paths = [
            path.format(ledger="main", key="before", address="a", id=NOTHING)
            for path, methods in client.get("/openapi.json").json()["paths"].items()
            if path.startswith("/v1/ledgers/{ledger}") and "get" in methods
        ]
        answers = [client.get(path, params=_asked(path)) for path in paths]
        told = {answer.url.path: answer.headers["Ledger-Installation"] for answer in answers}
        assert told == dict.fromkeys(paths, "west")


def test_a_ledger_is_followed_through_moves_that_the_map_does_not_know(database: Database) -> None:
    """Whoever moves a ledger may die before the map is changed."""
    placed = beside(database, "east", "west", "north")
    prepared(placed)
    with placement_on(placed) as placement, placement.client() as client:
        opened(client, "payer", "east", "a")
        opened(client, "main", "east", "a", "b")
        first = posted(client, "first")
        for old, new in ((0, 1), (1, 2)):
            Mover("main", placed[old], placed[new], CONTEXT).run()

        bridge = {
            "account": "a",
            "amount": 7,
            "provider": "bridge",
            "destination": {"ledger": "main", "account": "b"},
        }
        sent = client.post("/v1/ledgers/payer/payouts", json=bridge, headers={"Idempotency-Key": "bridge"})
        assert (sent.status_code, sent.headers["Ledger-Installation"]) == (202, "east")

        again = posted(client, "first")
        assert (again.json(), again.headers["Ledger-Installation"]) == (first.json(), "north")
        for wanted in ({}, {"installation": "north"}):
            answer = client.post("/v1/ledgers", json={"name": "main", **wanted})
            assert (answer.status_code, answer.headers["Ledger-Installation"]) == (200, "north")
            assert answer.json()["installation"] == "north"
        elsewhere = client.post("/v1/ledgers", json={"name": "main", "installation": "east"})
        assert (elsewhere.status_code, elsewhere.json()["code"]) == (409, "ledger_exists")
        assert (elsewhere.json()["differs"], elsewhere.json()["installation"]) == (["installation"], "north")

        eventually(lambda: client.get(f"{MAIN}/accounts/b").json()["balance"] == 8)


def test_a_server_that_has_not_looked_yet_shows_positions_as_the_others(
    placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    with placement.client() as client:
        opened(client, "beside", "east", *"uvwxyz")
        opened(client, "main", "east", "a", "b")
        first = posted(client, "first")
        moved(placement)
        asked = (MAIN, f"{MAIN}/accounts/b", f"{MAIN}/operations/first")
        told = [client.get(path).json() for path in asked]
        events = client.get(f"{MAIN}/events", params={"after": position_of(first)}).json()["data"]

    monkeypatch.setattr(PositionWaiter, "_look", lambda waiter, connection: None)
    with placement_on(placement.installations) as late, late.client() as client:
        assert [client.get(path).json() for path in asked] == told
        assert client.post("/v1/ledgers", json={"name": "main"}).json() == told[0]
        assert posted(client, "first").json() == first.json()
        assert client.get(f"{MAIN}/events", params={"after": position_of(first)}).json()["data"] == events


def test_a_copy_of_one_installation_that_has_not_seen_the_move_shows_positions_as_the_others(
    placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that was behind replays a whole move at once, and its service looks twice a second."""
    west, key = placement.database("west"), SecretStr(KEY)
    settings = Settings(database_url=west.url, schema_=west.schema, read_only=True, bootstrap_key=key)
    ensure_bootstrap_key(west, key)
    with placement.client() as client:
        opened(client, "beside", "west", *"uvwxyz")
        opened(client, "main", "east", "a", "b")
        first, second = posted(client, "first"), posted(client, "second")
        moved(placement)
        projected(placement)
        asked: dict[str, dict[str, Any]] = {
            "/accounts/b": {"consistency": "eventual"},
            "/accounts/b/entries": {"min_position": position_of(second)},
            "/transactions": {"page_size": 1},
            "/events": {"after": position_of(first)},
            "/trace": {"correlation_id": first.headers["Correlation-Id"]},
        }
        told = {path: client.get(MAIN + path, params=given) for path, given in asked.items()}

    monkeypatch.setattr(MovedLedgers, "look", lambda ledgers, connection: setattr(ledgers, "are_seen", True))
    with (
        listening() as bound,
        running_server(create_app(settings), bound) as url,
        Placement(url, ()).client() as replica,
    ):
        for path, given in asked.items():
            answer = replica.get(MAIN + path, params=given).raise_for_status()
            positions = [of.headers.get("Ledger-Position") for of in (answer, told[path])]
            assert positions[0] == positions[1], path
            shown, expected = ({**of.json()} for of in (answer, told[path]))
            for body in (shown, expected):
                for name in ("installation", "verdict", "projections", "operations"):
                    body.pop(name, None)
            assert shown == expected
        cursor = told["/transactions"].json()["next_cursor"]
        (following,) = replica.get(f"{MAIN}/transactions", params={"cursor": cursor}).json()["data"]
        assert following["reference"] == "second"
        east = placement.installations[0]
        with pytest.raises(Killed):
            Mover("main", placement.installations[1], east, CONTEXT, dying("arrive")).run()
        gone = replica.get(f"{MAIN}/transactions")
        assert (gone.status_code, gone.json()["installation"]) == (421, "east")


def test_what_waits_for_the_arrival_is_answered_with_positions_of_after_it(placement: Placement) -> None:
    """Until then the last of them is not final: the copies before it are shown by another offset."""
    east, west = placement.installations
    with placement.client() as client, ThreadPoolExecutor() as threads:
        opened(client, "beside", "east", *"uvwxyz")
        opened(client, "main", "east", "a", "b")
        first = posted(client, "first")
        with pytest.raises(Killed):
            Mover("main", east, west, CONTEXT, dying("arrive")).run()
        with east.database.connect("test") as old, west.database.connect("test") as new:
            left = last_of_ledger(old, "main")
            assert left is not None
            with new.transaction():
                new.execute("SELECT * FROM head FOR UPDATE")
                sent = threads.submit(posted, client, "second")
                waiting = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"
                eventually(lambda: sent.done() or old.execute(waiting).fetchall() == [(True,)])
                moves.arrive(new, "main", left, read_shown_positions(old, "main"), CONTEXT)
        refused = sent.result()
        if not refused.is_success:
            assert (refused.status_code, refused.json()["code"]) == (503, "ledger_moving")
            assert refused.headers["Retry-After"] == "1"
            assert int(refused.headers["Ledger-Position"]) > position_of(first)
            sent = threads.submit(posted, client, "second")
        second = position_of(sent.result())
        events = items(client, "/events", after=position_of(first))
        assert [event["position"] for event in events if event["type"] == "transaction.posted"] == [second]
        assert position_of(posted(client, "second")) == second


def test_a_trace_of_all_ledgers_has_the_positions_that_each_shows(placement: Placement) -> None:
    with placement.client() as client:
        opened(client, "beside", "west", *"uvwxyz")
        opened(client, "main", "east", "a", "b")
        asked = {"correlation_id": posted(client, "first").headers["Correlation-Id"]}
        before = client.get(f"{MAIN}/trace", params=asked).json()
        moved(placement)
        alone = client.get(f"{MAIN}/trace", params=asked).json()
        every = client.get("/v1/trace", params=asked).json()

    kinds = ("request_accepted", "event_recorded")
    positions = [
        [moment["position"] for moment in story["timeline"] if moment["kind"] in kinds]
        for story in (before, alone, every)
    ]
    assert positions[0] and positions == positions[:1] * 3
    (trace,) = every["traces"]
    for told in (before, alone, trace):
        assert told["operations"][0]["position"] == before["operations"][0]["position"]
    assert alone["position"] <= alone["head"]
    assert (trace["position"], trace["head"]) == (alone["position"], alone["head"])


def test_what_a_client_wrote_is_shown_as_it_was(database: Database) -> None:
    """Its members may have the names of ours."""
    placed = beside(database, "east", "west")
    prepared(placed)
    nobody = {"url": "http://127.0.0.1:9", "secret": SECRET}
    providers = {"simulator": ProviderSettings.model_validate(nobody)}
    written = {
        "position": 1_000_000,
        "head": 2_000_000,
        "name": "Zoë \x7f\u2028 </b> \N{ROCKET}",
        "more": [{"position": True}],
    }
    body = {"account": "a", "amount": 1, "provider": "simulator", "destination": written}
    keyed = {"Idempotency-Key": "paid"}
    with placement_on(placed, providers=providers) as placement, placement.client() as client:
        opened(client, "beside", "east", *"uvwxyz")
        opened(client, "main", "east", "a", "b")
        posted(client, "first")
        first = client.post(f"{MAIN}/payouts", json=body, headers=keyed)
        assert first.status_code == 202
        moved(placement)
        again = client.post(f"{MAIN}/payouts", json=body, headers=keyed)
        assert (again.content, again.headers["Idempotent-Replayed"]) == (first.content, "true")


def _asked(path: str) -> dict[str, str]:
    return {"correlation_id": "anything"} if path == f"{MAIN}/trace" else {}


def batched(client: httpx2.Client, keys: list[str], mode: str) -> httpx2.Response:
    entries = [
        {"account": account, "direction": direction, "amount": 1}
        for account, direction in (("a", "debit"), ("b", "credit"))
    ]
    items = [{"idempotency_key": key, "entries": entries} for key in keys]
    return client.post(f"{MAIN}/transactions/batch", json={"mode": mode, "transactions": items})


def test_requests_during_a_move_are_answered_or_told_to_wait(placement: Placement) -> None:
    stopping = threading.Event()
    seen: Counter[tuple[int, str]] = Counter()
    acknowledged: list[str] = []

    def post() -> None:
        with placement.client() as client:
            number = 0
            while not stopping.is_set():
                key, mode = f"key-{number}", ("independent", "atomic")[number % 2]
                keys = [key] if number % 3 else [f"{key}-1", f"{key}-2"]
                answer = posted(client, key) if number % 3 else batched(client, keys, mode)
                seen[answer.status_code, answer.json().get("code", "")] += 1
                if answer.status_code in (200, 201):
                    acknowledged.extend(keys)
                    number += 1
                    stopping.wait(0.01)
                else:
                    assert answer.headers["Retry-After"] == "1"
                    stopping.wait(0.05)

    with placement.client() as client:
        opened(client, "main", "east", "a", "b")
        thread = threading.Thread(target=post)
        thread.start()
        try:
            moved(placement)
            after = len(acknowledged)
            eventually(lambda: len(acknowledged) > after + 10 or not thread.is_alive())
        finally:
            stopping.set()
            thread.join()
        assert set(seen) <= {(201, ""), (200, ""), (503, "ledger_moving")}
        assert client.get(f"{MAIN}/accounts/b").json()["balance"] == len(acknowledged)
        again = [
            posted(client, key).headers.get("Idempotent-Replayed")
            for key in acknowledged
            if "-" not in key[4:]
        ]
        assert set(again) == {"true"}
