"""Liveness, readiness and metrics."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.app import create_app
from api.settings import Settings
from tests.contract.answers import code_of
from tests.contract.books import Book
from tests.contract.callers import Keys
from tests.contract.serving import Served, listening, running_server, serving
from tests.databases import Databases
from tests.service import ROOT


def test_anybody_may_ask(keys: Keys) -> None:
    client = keys.client_with(None)
    for path in ("/livez", "/livez?verbose", "/readyz", "/readyz?verbose", "/openapi.json", "/docs"):
        assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("key", "status"),
    [
        (None, 401),
        ("tk_of_nobody", 401),
        ({"roles": ["client"], "ledgers": ["*"]}, 403),
        ({"roles": ["auditor"], "ledgers": ["main"]}, 403),
        ({"roles": ["operator"], "ledgers": []}, 403),
        ({"roles": ["auditor"], "ledgers": ["*"]}, 200),
        ({"roles": ["operator"], "ledgers": ["*"]}, 200),
    ],
)
def test_figures_of_the_books_are_for_who_oversees_all_of_them(keys: Keys, key: Any, status: int) -> None:
    client = (
        keys.client(*key["roles"], ledgers=key["ledgers"]) if isinstance(key, dict) else keys.client_with(key)
    )
    for method in ("GET", "HEAD"):
        assert client.request(method, "/metrics").status_code == status
    shown = client.get("/readyz?verbose")
    assert shown.status_code == 200
    assert ("projections" in shown.json()) == ("checks" in shown.json()) == (status == 200)


def test_a_setting_shows_them_to_everybody(databases: Databases) -> None:
    with serving(databases, public_metrics=True) as served, served.client(None) as client:
        assert "tallystick_journal_head" in client.get("/metrics").text
        assert "projections" in client.get("/readyz?verbose").json()
        assert client.get("/v1/projections").status_code == 401


@pytest.mark.parametrize("path", ["", "/accounts", "/accounts/a", "/transactions", "/events", "/nothing"])
def test_nothing_of_the_books_is_told_to_who_is_not_let_in(book: Book, keys: Keys, path: str) -> None:
    another = {
        "another": keys.client("client", "auditor", ledgers=["another"]),
        "none": keys.client_with(None),
    }
    for client in another.values():
        for method in ("GET", "HEAD", "POST", "PUT", "OPTIONS"):
            answer = client.request(method, book.path + path)
            assert answer.status_code in (401, 403, 404, 405)
            assert not [name for name in answer.headers if name.startswith("ledger-")]


def test_readiness_tells_of_each_check(client: httpx2.Client) -> None:
    shown = client.get("/readyz?verbose").json()
    assert shown["checks"] == {"database": "ok", "migrations": "ok", "writer": "ok"}
    assert {"balances", "entries", "ledgers"} <= {projection["name"] for projection in shown["projections"]}


def test_not_ready_while_migrations_are_pending(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.service.readiness.latest", lambda: "9999_of_the_next_release")
    answer = client.get("/readyz")
    assert (answer.status_code, code_of(answer)) == (503, "journal_unavailable")
    assert answer.json()["reason"] == "migrations_pending"


def test_not_ready_when_the_writer_does_not_write(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.service.readiness.PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr("domain.commit.group_commit.GroupCommit.submit", lambda *_: None)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "writer_stopped")


def figures(client: httpx2.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every figure of the metrics page, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


def figure(client: httpx2.Client, name: str, **labels: str) -> float:
    return figures(client).get((name, frozenset(labels.items())), 0.0)


def test_a_right_that_was_taken_away_takes_figures_from_the_page_and_no_more(
    client: httpx2.Client, served: Served
) -> None:
    right = "SELECT ON delivery_outcomes"
    with served.database.connect_as_owner("test owner") as owner:
        owner.execute(f"REVOKE {right} FROM tallystick_service")
        try:
            found = {name for name, _ in figures(client)}
        finally:
            owner.execute(f"GRANT {right} TO tallystick_service")
    assert "tallystick_ready" in found and "tallystick_projection_position" in found
    assert "tallystick_stuck" not in found and "tallystick_webhooks" not in found


def test_commands_are_counted_by_what_became_of_them(client: httpx2.Client, book: Book) -> None:
    book.open("poor", min_balance=0)

    def count(outcome: str) -> float:
        return figure(client, "tallystick_commands_total", type="PostTransaction", outcome=outcome)

    outcomes = ("recorded", "replayed", "rejected", "account_not_found")
    before = {outcome: count(outcome) for outcome in outcomes}
    book.transfer("a", "b", 1, "k")
    book.transfer("a", "b", 1, "k")
    book.transfer("poor", "b", 1)
    book.transfer("a", "nobody", 1)
    assert {outcome: count(outcome) - before[outcome] for outcome in outcomes} == dict.fromkeys(outcomes, 1.0)


def test_requests_are_measured_by_route(client: httpx2.Client, book: Book) -> None:
    labels: dict[str, Any] = {"method": "GET", "route": "/v1/ledgers/{ledger}", "status": "200"}
    before = figure(client, "tallystick_http_request_seconds_count", **labels)
    client.get(book.path)
    assert figure(client, "tallystick_http_request_seconds_count", **labels) == before + 1


def test_what_is_unmatched_does_not_fill_the_page(client: httpx2.Client) -> None:
    for path in ("/a", "/v1/ledgers", "/livez"):
        client.request("PURGE", path)
        client.request("M-SEARCH", path)
    shown = {value for _, labels in figures(client) for value in dict(labels).values()}
    assert not shown & {"PURGE", "M-SEARCH"}


def test_the_journal_and_its_projections_are_measured(client: httpx2.Client, book: Book) -> None:
    found = figures(client)
    assert found["tallystick_journal_head", frozenset()] > 0
    for name in ("position", "lag_events", "lag_seconds"):
        assert (f"tallystick_projection_{name}", frozenset({("projection", "balances")})) in found
    assert found["tallystick_ready", frozenset()] == 1
    assert found["tallystick_waiting_commands", frozenset()] == 0
    assert found["tallystick_batch_commands_count", frozenset()] > 0
    assert found["tallystick_commit_seconds_count", frozenset()] > 0


@pytest.fixture
def unreachable(tmp_path: Path) -> Iterator[httpx2.Client]:
    """A client of a service whose database cannot be reached."""
    url = f"postgresql:///nowhere?host={tmp_path}&connect_timeout=1"
    settings = Settings(database_url=url, public_metrics=True)
    with (
        listening() as bound,
        running_server(create_app(settings), bound) as url,
        httpx2.Client(base_url=url, trust_env=False) as client,
    ):
        yield client


def test_without_its_database_it_is_alive_and_says_what_is_missing(
    unreachable: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.service.readiness.PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr("api.service.figures.PATIENCE_SECONDS", 0.5)
    assert unreachable.get("/livez").status_code == 200
    assert unreachable.get("/metrics").status_code == 200
    answer = unreachable.get("/readyz")
    assert (answer.status_code, code_of(answer)) == (503, "journal_unavailable")
    assert answer.json()["reason"] == "database_unreachable"
    answer = unreachable.get("/v1/ledgers", headers={"Authorization": "Bearer tk_any"}, timeout=20)
    assert (answer.status_code, code_of(answer)) == (503, "journal_unavailable")
    assert answer.json()["reason"] == "unreachable"
    assert int(answer.headers["retry-after"]) >= 1


def test_denials_are_counted_by_code_and_from_nought(client: httpx2.Client, keys: Keys) -> None:
    counted = {
        code: figure(client, "tallystick_denials_total", code=code)
        for code in ("unauthenticated", "forbidden")
    }
    assert ("tallystick_denials_total", frozenset({("code", "unauthenticated")})) in figures(client)
    assert keys.client_with("tk_of_nobody").get("/v1/ledgers").status_code == 401
    assert keys.client("client", ledgers=["*"]).get("/metrics").status_code == 403
    for code, before in counted.items():
        assert figure(client, "tallystick_denials_total", code=code) == before + 1


def test_waits_for_a_position_are_measured_by_how_they_ended(client: httpx2.Client, book: Book) -> None:
    def waits(outcome: str) -> float:
        labels = {"projection": "balances", "outcome": outcome}
        return figure(client, "tallystick_position_wait_seconds_count", **labels)

    arrived, late = waits("arrived") + waits("unannounced"), waits("late")
    position = int(client.get(book.path).headers["ledger-position"])
    assert client.get(f"{book.path}/accounts?min_position={position}").status_code == 200
    answer = client.get(
        f"{book.path}/accounts?min_position={position + 1_000_000}", headers={"Prefer": "wait=0"}
    )
    assert code_of(answer) == "projection_behind"
    assert waits("arrived") + waits("unannounced") == arrived + 1
    assert waits("late") == late + 1


def test_every_metric_is_in_the_page_on_operating_and_no_other(client: httpx2.Client) -> None:
    page = (ROOT / "scripts/README.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `(tallystick_\w+)` \|", page, re.M)
    exported = re.findall(r"^# TYPE (\w+) ", client.get("/metrics").text, re.M)
    assert sorted(documented) == sorted(name for name in exported if not name.endswith("_created"))
