"""What a service of a placement logs while one of its installations is away."""

import httpx2
import pytest
from structlog.testing import capture_logs

from domain.journal.database import Database
from domain.journal.outage import outage_of
from tests.integration.severing_proxy import SeveringProxy
from tests.placements import beside, placement_on, prepared
from tests.projecting import eventually

pytestmark = pytest.mark.integration


def test_what_fails_at_the_others_is_logged_while_one_is_away(database: Database) -> None:
    """An outage is said once, and hides no failure that it did not cause."""
    east, west = beside(database, "east", "west")

    def status(client: httpx2.Client, ledger: str) -> int:
        ahead = {"min_position": 10**9}
        path = f"/v1/ledgers/{ledger}/accounts"
        return client.get(path, params=ahead, headers={"Prefer": "wait=0"}).status_code

    with SeveringProxy(database.url) as proxy:
        away = west._replace(database=west.database._replace(url=proxy.database_url))
        prepared([east, west])
        with (
            capture_logs() as logs,
            placement_on([east, away]) as running,
            running.client() as client,
        ):
            for of in ("east", "west"):
                made = client.post("/v1/ledgers", json={"name": f"{of}-book", "installation": of})
                assert made.status_code == 201
            proxy.cut()
            eventually(lambda: bool(outage_of(away.database).parts))
            for ledger in ("west-book", "east-book"):
                assert status(client, ledger) == 503
            proxy.restore()
    failed = [line["status"] for line in logs if line["event"] == "failed"]
    assert failed == [503]
