"""The console over a placement: pages say of which installation what they show is, and act on that one."""

import re
from collections.abc import Iterator

import httpx2
import pytest

from tests.contract.books import Book
from tests.contract.placed import AWAY, HOME, Placed, placed
from tests.contract.serving import KEY, Served
from tests.databases import Databases
from tests.projecting import eventually

pytestmark = pytest.mark.contract

BOOKS = {"books": HOME, "payroll": AWAY}


@pytest.fixture(scope="module")
def service(databases: Databases) -> Iterator[Placed]:
    """Two installations, each with a ledger in which Alice has paid Bob once."""
    with placed(databases) as running, running.client() as client:
        for ledger, installation in BOOKS.items():
            client.post("/v1/ledgers", json={"name": ledger, "installation": installation})
            book = Book(client, ledger)
            book.open("alice")
            book.open("bob")
            posted = book.transfer("alice", "bob", 40, "payment-1")
            position = int(posted.headers["ledger-position"])
            asked = {"installation": installation, "min_position": position}
            eventually(lambda asked=asked: client.get("/v1/audit/checkpoint", params=asked).is_success)  # type: ignore[misc]
        yield running


@pytest.fixture(scope="module")
def console(service: Placed) -> Iterator[httpx2.Client]:
    """A browser's side of a session."""
    with httpx2.Client(base_url=service.placement.url, trust_env=False, verify=False, timeout=30.0) as client:
        answer = client.post("/console/sign-in", data={"key": KEY})
        client.headers["cookie"] = answer.headers["set-cookie"].partition(";")[0]
        yield client


def shown(console: httpx2.Client, address: str) -> str:
    answer = console.get(address)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_lists_say_of_which_installation_each_thing_is(console: httpx2.Client) -> None:
    ledgers = shown(console, "/console/ledgers")
    for ledger, installation in BOOKS.items():
        assert f'">{ledger}</a></th><td>{installation}</td>' in ledgers
    projections = shown(console, "/console/projections")
    for installation in (HOME, AWAY):
        assert f'"/console/projections/balances?installation={installation}"' in projections
        assert f'"/console/projections/balances/pause?installation={installation}"' in projections
    hooks = shown(console, "/console/webhooks")
    assert all(f'"/console/make-webhook?installation={name}"' in hooks for name in (HOME, AWAY))


@pytest.mark.parametrize("path", ["", "/stuck", "/dead-letters", "/keys", "/audit", "/audit/events"])
def test_every_page_of_the_whole_can_be_read(console: httpx2.Client, path: str) -> None:
    assert "could not answer" not in shown(console, f"/console{path}")


def test_a_projection_is_paused_where_the_page_says(console: httpx2.Client, service: Placed) -> None:
    assert console.get("/console/projections/balances").headers["location"] == "/console/projections"
    address = f"/console/projections/balances/pause?installation={AWAY}"
    form = shown(console, address)
    (action,) = re.findall(r'<form method="post" action="(/console/projections[^"]*)"', form)
    assert action == address
    (csrf,) = set(re.findall(r'name="csrf" value="(\w+)"', form))
    sent = console.post(address, data={"csrf": csrf, "reason": "a look"})
    assert f"installation={AWAY}" in sent.headers["location"]
    page = shown(console, sent.headers["location"])
    assert f"Projection balances in {AWAY}" in page and "a look" in page
    with service.client() as client:
        states = {
            name: client.get("/v1/projections/balances", params={"installation": name}).json()["state"]
            for name in (HOME, AWAY)
        }
        client.post("/v1/projections/balances/resume", params={"installation": AWAY})
    assert states == {HOME: "running", AWAY: "paused"}


def test_a_proof_is_of_the_log_that_has_the_event(console: httpx2.Client, service: Placed) -> None:
    with service.client() as client:
        keys = {
            name: client.get("/v1/audit/verifier-key", params={"installation": name}).text.strip()
            for name in (HOME, AWAY)
        }
        for ledger, installation in BOOKS.items():
            made = client.get(f"/v1/ledgers/{ledger}/operations/payment-1").json()
            page = shown(console, made["resource"].replace("/v1", "/console"))
            assert "Included in the tree of" in page
            (check,) = re.findall(r'"(/console/audit/check\?[^"]*)"', page)
            assert f"installation={installation}" in check
            assert "Yes: this event is in the journal" in shown(console, check.replace("&amp;", "&"))
            event = shown(console, f"/console/ledgers/{ledger}/events/{made['position']}")
            assert f'data-log="{installation}"' in event
    for name, key in keys.items():
        page = shown(console, f"/console/audit?installation={name}")
        assert f"Proofs of {name}" in page and key.partition("+")[0] in page


def test_pages_say_who_could_not_answer(console: httpx2.Client, service: Placed) -> None:
    with service.without(AWAY):
        for path in ("", "/ledgers", "/projections", "/stuck", "/dead-letters", "/webhooks"):
            assert f"{AWAY} could not answer." in shown(console, f"/console{path}")
        assert "Nothing is stuck where it could be said." in shown(console, "/console/stuck")
        now = shown(console, "/console")
        assert "1 ledger was checked and balances." in now or "One ledger was checked and balances." in now


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/ledgers",
        "/stuck",
        "/projections",
        "/projections/balances",
        "/dead-letters",
        "/webhooks",
        "/audit",
    ],
)
def test_without_a_placement_no_page_speaks_of_installations(served: Served, path: str) -> None:
    with httpx2.Client(base_url=served.url, trust_env=False, verify=False, timeout=30.0) as client:
        answer = client.post("/console/sign-in", data={"key": KEY})
        client.headers["cookie"] = answer.headers["set-cookie"].partition(";")[0]
        page = shown(client, f"/console{path}")
    assert "nstallation" not in page and "could not answer" not in page and "data-log" not in page
