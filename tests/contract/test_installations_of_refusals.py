"""In a placement each refusal about a ledger says which installation gave it, and the position that it reflects."""

from collections.abc import Iterator
from uuid import uuid4

import httpx2
import pytest

from api.http.declaration import Declaration
from api.http.spanning.spans import Spans
from api.resources import ENDPOINTS
from tests.contract.placed import AWAY, HOME, Placed, placed
from tests.databases import Databases

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

KEYED = {"Idempotency-Key": "a-key-of-refusals"}
OF_LEDGER = [endpoint.declared for endpoint in ENDPOINTS if endpoint.declared.spans is Spans.LEDGER]


@pytest.fixture(scope="module")
def service(databases: Databases) -> Iterator[Placed]:
    with placed(databases) as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Placed) -> Iterator[httpx2.Client]:
    """It checks of every answer about a ledger that it names its installation, and the position if it should."""
    with service.client() as client:
        for name in (HOME, AWAY):
            body = {"name": f"of-{name}", "installation": name}
            assert client.post("/v1/ledgers", json=body).status_code == 201
        yield client


def named(answer: httpx2.Response) -> tuple[str | None, bool]:
    """The installation that an answer names, and whether it states a position."""
    return answer.headers.get("Ledger-Installation"), "Ledger-Position" in answer.headers


@pytest.mark.parametrize("ledger", [f"of-{HOME}", f"of-{AWAY}", "of-nobody"])
@pytest.mark.parametrize("declared", OF_LEDGER, ids=lambda declared: declared.operation_id)
def test_every_refusal_of_a_ledger(client: httpx2.Client, declared: Declaration, ledger: str) -> None:
    nothing = str(uuid4())
    names = {"ledger": ledger, "address": "nobody", "key": "nothing", "id": nothing, "payout": nothing}
    path = declared.path.format_map({**names, "transaction": nothing, "leaf": "0" * 64, "position": "1"})
    at = HOME if ledger == "of-nobody" else ledger.removeprefix("of-")
    refused = [client.request(declared.method, path, params={"unknown": "1"}, headers=KEYED)]
    if declared.body:
        json = {"Content-Type": "application/json", **KEYED}
        refused += [
            client.request(declared.method, path, content=b"{", headers=json),
            client.request(declared.method, path, json={"unknown": 1}, headers=KEYED),
            client.request(
                declared.method, path, content=b"{}", headers={"Content-Type": "text/plain", **KEYED}
            ),
            client.request(declared.method, path, json={"unknown": 1}),
        ]
    else:
        refused += [client.request(declared.method, path)]
    for answer in refused:
        if answer.status_code >= 400:
            assert named(answer) == (at, True), (answer.request.url, answer.text)


def test_every_refusal_to_open_a_ledger(client: httpx2.Client, service: Placed) -> None:
    conflict = client.post("/v1/ledgers", json={"name": f"of-{AWAY}", "installation": HOME})
    assert (conflict.status_code, named(conflict)) == (409, (AWAY, True))
    differs = client.post("/v1/ledgers", json={"name": f"of-{AWAY}", "metadata": {"a": "b"}})
    assert (differs.status_code, named(differs)) == (409, (AWAY, True))
    # Judged before an installation is asked.
    for body in ({"name": ""}, {"name": "new", "installation": "nowhere"}):
        malformed = client.post("/v1/ledgers", json=body)
        assert (malformed.status_code, named(malformed)) == (422, (None, False))
    with service.without(AWAY):
        away = client.post("/v1/ledgers", json={"name": "of-nobody", "installation": AWAY})
        assert (away.status_code, named(away)) == (503, (AWAY, True))
    assert client.post("/v1/ledgers", json={"name": "of-nobody"}).headers["Ledger-Installation"] == AWAY
