"""The database answers, and denies the service what it needs: every request says so, and none is a fault."""

from collections.abc import Iterator

import httpx2
import pytest
from structlog.testing import capture_logs

from domain.journal import outage
from tests.contract.books import transfer_body
from tests.contract.serving import Served, serving
from tests.databases import Databases
from tests.projecting import eventually

TAKEN = [
    ("SELECT ON abbreviated_events", "GET", "/v1/ledgers/main/accounts/a"),
    ("SELECT ON abbreviated_events", "GET", "/v1/ledgers/main/events"),
    ("INSERT ON stored_events", "POST", "/v1/ledgers/main/transactions"),
    ("UPDATE ON head", "POST", "/v1/ledgers/main/transactions"),
    ("UPDATE ON head", "POST", "/v1/keys"),
    ("SELECT ON rebuilds", "GET", "/v1/projections"),
    ("SELECT ON api_keys", "GET", "/v1/keys"),
    ("SELECT ON webhooks", "GET", "/v1/webhooks"),
    ("SELECT ON checkpoints", "GET", "/v1/audit/checkpoint"),
    ("SELECT ON migrations", "GET", "/readyz"),
    ("UPDATE ON head", "GET", "/readyz"),
    ("USAGE ON SCHEMA {schema}", "GET", "/readyz"),
]
BODIES = {
    "/v1/ledgers/main/transactions": transfer_body(),
    "/v1/keys": {"name": "shop", "roles": ["auditor"], "ledgers": []},
}


@pytest.fixture(scope="module")
def denied(databases: Databases) -> Iterator[Served]:
    with serving(databases) as served, served.client() as client:
        assert client.post("/v1/ledgers", json={"name": "main"}).status_code == 201
        for address in ("a", "b"):
            body = {"address": address, "asset": "USD/2", "normal_side": "credit"}
            assert client.post("/v1/ledgers/main/accounts", json=body).status_code == 201
        yield served


@pytest.mark.parametrize(("right", "method", "path"), TAKEN)
def test_what_is_denied_is_no_fault_and_passes_once_it_is_given_back(
    denied: Served, monkeypatch: pytest.MonkeyPatch, right: str, method: str, path: str
) -> None:
    monkeypatch.setattr(outage.DENIALS, "_remind_at", 0.0)
    headers = {"Idempotency-Key": f"denied {right}".replace(" ", "-")}
    with denied.client() as client, denied.database.connect_as_owner("test owner") as owner:
        right = right.format(schema=denied.database.schema)
        owner.execute(f"REVOKE {right} FROM tallystick_service")
        try:
            with capture_logs() as logs:
                answers = [_ask(client, method, path, headers) for _ in range(3)]
        finally:
            owner.execute(f"GRANT {right} TO tallystick_service")
        for answer in answers:
            assert answer.status_code == 503
            assert (answer.json()["code"], answer.json()["reason"]) == ("journal_unavailable", "denied")
            assert "tallystick doctor" in answer.json()["detail"]
            assert "Retry-After" in answer.headers
        said = [line["event"] for line in logs]
        assert not {"fault", "failed", "command failed"} & set(said)
        assert said.count("database denies what is needed") <= 1
        assert _ask(client, method, path, headers).status_code in (200, 201, 404)


def test_what_goes_on_in_the_background_says_so_once(denied: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage.DENIALS, "times", 0)
    monkeypatch.setattr(outage.DENIALS, "_remind_at", 0.0)
    with denied.database.connect_as_owner("test owner") as owner, capture_logs() as logs:
        owner.execute("REVOKE SELECT ON projection_versions FROM tallystick_service")
        try:
            eventually(lambda: outage.DENIALS.times >= 20)
        finally:
            owner.execute("GRANT SELECT ON projection_versions TO tallystick_service")
    said = [str(line["event"]) for line in logs]
    assert said.count("database denies what is needed") == 1
    assert not [words for words in said if words.endswith(("reach", "again", "interrupted", "failed"))]


def _ask(client: httpx2.Client, method: str, path: str, headers: dict[str, str]) -> httpx2.Response:
    return client.request(method, path, headers=headers, json=BODIES.get(path))
