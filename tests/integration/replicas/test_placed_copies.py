"""What a service that only reads answers of several installations, each from a copy of its own."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest

from api.resources import ENDPOINTS
from domain.journal.database import Database
from tests.contract.serving import KEY
from tests.integration.replicas.pairs import caller, run, write
from tests.integration.replicas.placed import HOME, NAMES, OTHER, PlacedCopies, opened, placed_copies
from tests.projecting import eventually

pytestmark = pytest.mark.integration

LISTS = ("transactions", "accounts", "balances", "trial-balance", "accounts/b/entries", "events")
NOBODY_THERE = "postgresql://reader@127.0.0.1:9/books?connect_timeout=1"
AT_ONCE, PATIENTLY = {"Prefer": "wait=0"}, {"Prefer": "wait=30"}


@pytest.fixture(scope="module")
def placed(module_path: Path) -> Iterator[PlacedCopies]:
    with placed_copies(module_path) as made:
        yield made


@pytest.fixture
def primary(placed: PlacedCopies) -> Iterator[httpx2.Client]:
    with placed.primary() as client:
        yield client


@pytest.fixture(scope="module")
def replica(placed: PlacedCopies) -> Iterator[httpx2.Client]:
    """A service that reads both on the standby, and refuses what a copy may not answer."""
    with placed.replica() as client:
        yield client


@pytest.fixture(scope="module")
def forwarding(placed: PlacedCopies) -> Iterator[httpx2.Client]:
    """As `replica`, but it passes on to the primary what a copy may not answer."""
    with placed.replica(forward=True) as client:
        yield client


def listed(
    client: httpx2.Client,
    ledger: str,
    min_position: int | None = None,
    name: str = "transactions",
    **more: Any,
) -> httpx2.Response:
    asked = {} if min_position is None else {"min_position": min_position}
    return client.get(f"/v1/ledgers/{ledger}/{name}", params=asked, **more)


def is_answered_by(name: str, client: httpx2.Client, ledger: str) -> bool:
    answer = listed(client, ledger)
    return (answer.status_code, answer.headers["Ledger-Installation"]) == (200, name)


def code_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def let_home_be_ahead(primary: httpx2.Client) -> None:
    """Write at home until its journal is longer than the other, which then takes some requests before it is as long."""
    head, ledger = head_of_other(primary), opened(primary, HOME)
    while write(primary, ledger) < head + 60:
        pass


def head_of_other(client: httpx2.Client) -> int:
    heads = {found["name"]: found["head"] for found in client.get("/v1/installations").json()["data"]}
    return int(heads[OTHER])


@pytest.mark.parametrize("name", NAMES)
def test_a_read_waits_until_the_copy_of_its_installation_has_the_position(
    placed: PlacedCopies, primary: httpx2.Client, replica: httpx2.Client, name: str
) -> None:
    ledger = opened(primary, name)
    before = write(primary, ledger)
    for of in LISTS:
        answer = listed(replica, ledger, before, of, headers=PATIENTLY)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Ledger-Installation"] == name
    with placed.servers.not_replaying():
        position = write(primary, ledger)
        for of in LISTS:
            late = listed(replica, ledger, position, of, headers=AT_ONCE)
            assert code_of(late) == (503, "projection_behind")
            assert late.headers["Ledger-Installation"] == name
            assert before <= int(listed(replica, ledger, None, of).headers["Ledger-Head"]) < position
    for of in LISTS:
        fresh = listed(replica, ledger, position, of, headers=PATIENTLY)
        assert fresh.status_code == 200, fresh.text
        assert int(fresh.headers["Ledger-Position"]) >= position


def test_each_route_is_answered_from_the_copies_or_refused(
    placed: PlacedCopies, primary: httpx2.Client, replica: httpx2.Client
) -> None:
    ledger = opened(primary, OTHER)
    placed.servers.replayed()
    names = {
        "ledger": ledger,
        "address": "a",
        "id": "0b2f7c1e-8d3a-5b6f-9c0d-1e2f3a4b5c6d",
        "key": "order-1",
        "name": "balances",
        "delivery": "21",
        "code": "insufficient_funds",
        "asset": "swagger-ui.css",
        "provider": "simulator",
        "size": "21",
        "log": OTHER,
    }
    schemas = [placed.placement.database(name).schema for name in NAMES]
    heads = [run(placed.servers.primary, f"SELECT position FROM {schema}.head") for schema in schemas]
    for endpoint in ENDPOINTS:
        declared = endpoint.declared
        asked = {"installation": OTHER} if declared.takes_installation else {}
        answer = replica.request(declared.method, declared.path.format(**names), params=asked)
        is_refused = declared.needs_primary is not False
        assert (answer.status_code == 421) == is_refused, (declared.operation_id, answer.text)
        assert answer.status_code < 500, (declared.operation_id, answer.text)
        if is_refused:
            assert answer.json()["primary"] == answer.headers["Ledger-Primary"] == placed.placement.url
    assert heads == [run(placed.servers.primary, f"SELECT position FROM {schema}.head") for schema in schemas]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_copy_may_not_answer_is_passed_on(
    placed: PlacedCopies, primary: httpx2.Client, forwarding: httpx2.Client, name: str
) -> None:
    with placed.servers.not_replaying():
        ledger = opened(forwarding, name)
        position = write(forwarding, ledger)
        shown = forwarding.get(f"/v1/ledgers/{ledger}/accounts/a")
        assert (shown.status_code, shown.headers["Ledger-Installation"]) == (200, name)
    answer = listed(forwarding, ledger, position, headers=PATIENTLY)
    assert [len(answer.json()["data"]), answer.headers["Ledger-Installation"]] == [1, name]


def test_a_ledger_that_homes_copy_does_not_know_is_found_where_it_is(
    placed: PlacedCopies, primary: httpx2.Client
) -> None:
    with placed.replica([HOME]) as client, placed.servers.not_replaying():
        ledger = opened(primary, OTHER)
        position = write(primary, ledger)
        for of in LISTS:
            answer = listed(client, ledger, position, of, headers=PATIENTLY)
            assert answer.status_code == 200, answer.text
            assert answer.headers["Ledger-Installation"] == OTHER


def test_a_ledger_that_its_copy_lacks_is_awaited_and_not_denied(
    placed: PlacedCopies, primary: httpx2.Client
) -> None:
    with placed.replica([OTHER]) as client:
        with placed.servers.not_replaying():
            ledger = opened(primary, OTHER)
            position = write(primary, ledger)
            for of in LISTS:
                assert code_of(listed(client, ledger, position, of, headers=AT_ONCE)) == (
                    503,
                    "projection_behind",
                )
            assert code_of(listed(client, ledger)) == (404, "ledger_not_found")
        for of in LISTS:
            assert listed(client, ledger, position, of, headers=PATIENTLY).status_code == 200


def test_a_ledger_that_no_copy_knows_is_awaited_wherever_it_will_be(
    placed: PlacedCopies, primary: httpx2.Client, replica: httpx2.Client
) -> None:
    let_home_be_ahead(primary)
    placed.servers.replayed()
    found: list[httpx2.Response] = []
    with placed.servers.not_replaying():
        ledger = opened(primary, OTHER)
        position = write(primary, ledger)

        def early() -> httpx2.Response:
            answer = listed(replica, ledger, position, headers=AT_ONCE)
            assert code_of(answer) == (503, "projection_behind")
            return answer

        # Home's copy is there, as the service sees within half a second. The other is not.
        eventually(lambda: early().headers["Ledger-Installation"] == OTHER)
        assert early().json()["head"] < position
        waiting = Thread(
            target=lambda: found.append(listed(replica, ledger, position, headers=PATIENTLY)), daemon=True
        )
        waiting.start()
    waiting.join()
    assert [(answer.status_code, answer.headers["Ledger-Installation"]) for answer in found] == [(200, OTHER)]
    assert code_of(listed(replica, "never-opened", position, headers=PATIENTLY)) == (404, "ledger_not_found")
    assert code_of(listed(replica, "never-opened")) == (404, "ledger_not_found")


def test_a_ledger_that_moved_is_found_as_far_as_the_copies_know(
    placed: PlacedCopies, primary: httpx2.Client, replica: httpx2.Client
) -> None:
    let_home_be_ahead(primary)
    neighbour = opened(primary, OTHER)
    ledger = opened(primary, HOME)
    before = write(primary, ledger)
    assert listed(replica, ledger, before, headers=PATIENTLY).headers["Ledger-Installation"] == HOME
    with placed.replica([HOME]) as behind_at_home, placed.replica([OTHER]) as behind_there:
        with placed.servers.not_replaying():
            placed.move(ledger, HOME, OTHER)
            after = write(primary, ledger)
            assert after > before
            # Home's copy still has it, and knows of no move.
            old = listed(behind_at_home, ledger, before)
            assert (old.status_code, old.headers["Ledger-Installation"]) == (200, HOME)
            late = listed(behind_at_home, ledger, after, headers=AT_ONCE)
            assert code_of(late) == (503, "projection_behind")
            # Home says that it has left, and the copy of the other installation does not have it yet.
            gone = listed(behind_there, ledger)
            assert code_of(gone) == (503, "ledger_moving")
            assert "Retry-After" in gone.headers
            assert listed(behind_there, ledger, before, headers=AT_ONCE).status_code == 503
        for client in (replica, behind_at_home, behind_there):
            eventually(partial(is_answered_by, OTHER, client, ledger))
            arrived = listed(client, ledger, after, headers=PATIENTLY)
            assert (arrived.status_code, len(arrived.json()["data"])) == (200, 2)
            assert int(arrived.headers["Ledger-Position"]) >= after
            # Its positions are shown as they always were; what is said of its neighbours has the journal's own.
            head = head_of_other(client)
            missing = client.get(f"/v1/ledgers/{neighbour}/accounts/none/entries")
            assert (missing.status_code, missing.headers["Ledger-Installation"]) == (404, OTHER)
            assert int(missing.headers["Ledger-Head"]) <= head < int(arrived.headers["Ledger-Head"])


def test_a_list_that_spans_is_of_all_copies(
    placed: PlacedCopies, primary: httpx2.Client, replica: httpx2.Client, forwarding: httpx2.Client
) -> None:
    ledgers = {name: opened(primary, name) for name in NAMES}
    positions = {name: write(primary, ledger) for name, ledger in ledgers.items()}
    for name in NAMES:
        asked: dict[str, str | int] = {
            "min_position": positions[name],
            "installation": name,
            "order": "desc",
        }
        only = replica.get("/v1/ledgers", params=asked, headers=PATIENTLY)
        assert only.status_code == 200, only.text
        assert only.json()["data"][0]["name"] == ledgers[name]
        assert only.json()["reflected"][name]["position"] >= positions[name]
    newest = {item["name"] for item in replica.get("/v1/ledgers?order=desc").json()["data"]}
    assert newest >= set(ledgers.values())
    with placed.servers.not_replaying():
        position = write(primary, ledgers[OTHER])
        late = replica.get(
            "/v1/ledgers", params={"min_position": position, "installation": OTHER}, headers=AT_ONCE
        )
        assert code_of(late) == (503, "projection_behind")


def test_a_position_of_nobody_knows_which_installation_is_asked_of_the_primary(
    placed: PlacedCopies, primary: httpx2.Client, replica: httpx2.Client, forwarding: httpx2.Client
) -> None:
    let_home_be_ahead(primary)
    heads = {found["name"]: found["head"] for found in primary.get("/v1/installations").json()["data"]}
    asked = {"min_position": heads[HOME]}
    refused = replica.get("/v1/ledgers", params=asked)
    assert code_of(refused) == (421, "read_only_replica")
    assert "Name the one that answered the write in `installation`" in refused.json()["detail"]
    passed_on = forwarding.get("/v1/ledgers", params=asked)
    assert passed_on.status_code == 200
    assert passed_on.json()["reflected"][HOME]["position"] >= heads[HOME]
    # Once every copy has reached a position, it does not matter whose it is.
    eventually(lambda: replica.get("/v1/ledgers", params={"min_position": heads[OTHER]}).status_code == 200)
    assert code_of(replica.get("/v1/ledgers", params={"min_position": "x"})) == (422, "invalid_request")


def test_an_installation_whose_copy_is_away_is_named(placed: PlacedCopies, primary: httpx2.Client) -> None:
    ledgers = {name: opened(primary, name) for name in NAMES}
    placed.servers.replayed()
    schema = placed.placement.database(OTHER).schema
    with placed.replica(databases={OTHER: Database(NOBODY_THERE, schema)}) as client:
        for path in ("/v1/ledgers", "/v1/projections", "/v1/stuck", "/v1/webhooks", "/v1/dead-letters"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["unanswered"]) == (200, [OTHER]), path
        assert listed(client, ledgers[HOME]).status_code == 200
        assert code_of(listed(client, ledgers[OTHER])) == (503, "journal_unavailable")
        # A ledger that no copy that answers has may be in the one that is silent.
        assert code_of(listed(client, "never-opened")) == (503, "journal_unavailable")
        ready = client.get("/readyz", params={"verbose": "1"}).json()
        assert [found["status"] for found in ready["installations"]] == ["ready", "unready"]
        assert {tuple(found["checks"]) for found in ready["installations"]} == {
            ("database", "migrations", "replay")
        }
        metrics = client.get("/metrics").text
        assert 'tallystick_replay_lag_seconds{installation="east"} 0.0' in metrics
        assert 'tallystick_ready{installation="west"} 0.0' in metrics


def test_a_browser_is_told_that_it_sees_copies(
    placed: PlacedCopies, primary: httpx2.Client, forwarding: httpx2.Client
) -> None:
    ledger = opened(primary, OTHER)
    with caller(str(forwarding.base_url), None) as browser:
        signed_in = browser.post("/console/sign-in", data={"key": KEY, "next": "/console/ledgers"})
        assert signed_in.status_code == 303
        placed.servers.replayed()
        path = f"/console/ledgers/{ledger}/accounts/a"
        eventually(lambda: "read from copies of the ledgers" in browser.get(path).text)
        assert browser.get("/console").status_code == 200
