"""Callers who are refused again and again: who, why and how often is logged in a few lines."""

from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from api.http import middleware
from domain.journal.outage import Denials, Outage
from tests.contract.callers import Keys
from tests.contract.serving import KEY, serving
from tests.databases import Databases

TIMES = 200


@pytest.fixture(autouse=True)
def no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """In an outage of its process, a service would not log failures one by one."""
    monkeypatch.setattr(middleware, "DATABASE", Outage("database"))
    monkeypatch.setattr(middleware, "DENIALS", Denials())


def flood(client: httpx2.Client, path: str, status: int, **headers: str) -> None:
    for _ in range(TIMES):
        assert client.get(path, headers=headers).status_code == status


def of(logs: Any, event: str, **facts: Any) -> tuple[int, int]:
    """How many lines of an event have these facts, and how many requests they tell of."""
    lines = [line for line in logs if line["event"] == event and line.items() >= facts.items()]
    return len(lines), sum(line.get("times", 1) for line in lines)


def test_a_flood_is_counted_and_its_first_request_is_logged(databases: Databases) -> None:
    with capture_logs() as logs:
        with serving(databases) as served, served.client(None) as client, served.client() as owner:
            keys = Keys(served, owner)
            reader = keys.client("auditor", ledgers=["main"])
            flood(client, "/v1/ledgers/main", 401)
            flood(client, "/v1/ledgers/main", 401, Authorization="Bearer tk_nobody")
            flood(client, "/v1/keys", 401)
            flood(reader, "/v1/ledgers/other", 403)
            flood(reader, "/v1/ledgers?min_position=999999", 503, Prefer="wait=0")
            keys.close()
        lines, requests = of(logs, "denied", code="unauthenticated")
        assert (lines <= 10, requests) == (True, 3 * TIMES)
        lines, requests = of(logs, "denied", code="forbidden", actor=keys.last_name)
        assert (lines <= 10, requests) == (True, TIMES)
        lines, requests = of(logs, "failed", status=503, actor=keys.last_name)
        assert (lines <= 10, requests) == (True, TIMES)
    paths = [line["path"] for line in logs if line["event"] == "denied" and "path" in line]
    assert {"/v1/ledgers/main", "/v1/keys", "/v1/ledgers/other"} <= set(paths)
    assert KEY not in str(logs)
