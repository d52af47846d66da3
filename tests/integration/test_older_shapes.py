"""While a new shape of a read model is filled, lists that the older one can answer are read from it."""

from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from api.app import create_app
from api.security.keys import ensure_bootstrap_key
from api.settings import Settings
from domain.application import system_clock
from domain.journal.database import Database
from projections.errors import ProjectionBehind
from projections.read_models.payouts import Share, list_due_payouts, list_payouts
from projections.rebuilding.rebuilder import rebuilding
from projections.registry import install
from tests.contract.serving import KEY, listening, running_server
from tests.ledgers import open_accounts, running, transfer
from tests.payouts import a_request
from tests.placements import Placement
from tests.projecting import await_head, eventually, projecting

pytestmark = pytest.mark.integration

PAYOUTS = "/v1/ledgers/main/payouts"


@pytest.fixture
def head(database: Database) -> int:
    """A ledger with a payout, whose read model an older release has filled. The newest position that it has."""
    ensure_bootstrap_key(database, SecretStr(KEY))
    with running(database) as ledger, projecting(database), database.connect("test") as connection:
        open_accounts(ledger, "a", "b")
        ledger.perform(transfer("b", "a", 10))
        ledger.perform(a_request("rent", 1, "a"))
        position = await_head(connection)
    with database.connect_as_owner("older release") as owner:
        owner.execute("UPDATE projection_versions SET shape = 1 WHERE name = 'payouts'")
        owner.execute("ALTER TABLE payouts_v1 DROP COLUMN receiver")
    install(database)
    return position


def test_payouts_are_listed_from_the_older_shape_until_the_new_one_is_full(
    database: Database, head: int
) -> None:
    settings = Settings(database_url=database.url, schema_=database.schema, bootstrap_key=SecretStr(KEY))
    with (
        listening() as bound,
        running_server(create_app(settings), bound) as url,
        Placement(url, ()).client() as client,
    ):
        for asked in ({}, {"min_position": head}):
            listed = client.get(PAYOUTS, params=asked).raise_for_status()
            assert [payout["amount"] for payout in listed.json()["data"]] == [1]
            assert listed.headers["Ledger-Position"] == str(head)
        later = client.post(
            "/v1/ledgers/main/accounts", json={"address": "c", "asset": "USD/2", "normal_side": "credit"}
        )
        asked = {"min_position": int(later.raise_for_status().headers["Ledger-Position"])}
        refused = client.get(PAYOUTS, params=asked, headers={"Prefer": "wait=0"})
        problem: dict[str, Any] = refused.json()
        assert (refused.status_code, problem["code"], problem["state"]) == (
            503,
            "projection_behind",
            "rebuilding",
        )
        assert "It ends by itself" in problem["detail"]
        with rebuilding(database):
            eventually(lambda: client.get(PAYOUTS, params=asked).is_success)
        with database.connect_as_owner("test") as owner:
            owner.execute("DROP TABLE payouts_v1")
        assert _amounts(client) == [1]


def _amounts(client: httpx2.Client) -> list[int]:
    return [payout["amount"] for payout in client.get(PAYOUTS).raise_for_status().json()["data"]]


def test_what_the_older_shape_cannot_answer_waits(database: Database, head: int) -> None:
    with database.connect("test") as connection:
        assert list_payouts(connection, "main", limit=1).position == head
        with pytest.raises(ProjectionBehind):
            list_due_payouts(connection, system_clock(), [Share("simulator", "", 1)], {})
