"""An operator finds a ledger whose move was cut off: by what is stuck, by a request's story, by the figures."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from domain.journal.database import Database
from domain.placement import mover
from domain.placement.ledger_map import take
from domain.placement.mover import Mover
from scripts.tallystick import application
from tests.commands import invoke
from tests.ledgers import CONTEXT
from tests.moving import Killed, dying
from tests.placements import Placement, beside, environment_of, placement_on, prepared
from tests.projecting import await_head, eventually

pytestmark = pytest.mark.integration

MAIN = "/v1/ledgers/main"
FINISH = "tallystick place main --on west --yes"
AT_ONCE: dict[str, Any] = {"move_seconds": 0, "payout_seconds": 0}


@pytest.fixture
def placement(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Placement]:
    """The ledger main is in east, with a transfer under the key `first`; the ledger beside is in west."""
    monkeypatch.setattr(mover, "KNOWN_SECONDS", 0.0)
    installations = beside(database, "east", "west")
    prepared(installations)
    with placement_on(installations) as running, running.client() as client:
        for ledger, at in (("main", "east"), ("beside", "west")):
            made = client.post("/v1/ledgers", json={"name": ledger, "installation": at})
            assert made.status_code == 201
            for address in "ab":
                account = {"address": address, "asset": "USD/2", "normal_side": "credit"}
                client.post(f"/v1/ledgers/{ledger}/accounts", json=account).raise_for_status()
        posted(client, "first").raise_for_status()
        for _, of in installations:
            with of.connect("test") as connection:
                await_head(connection)
        yield running


def posted(client: httpx2.Client, key: str) -> httpx2.Response:
    sides = (("a", "debit"), ("b", "credit"))
    entries = [{"account": account, "direction": side, "amount": 1} for account, side in sides]
    return client.post(f"{MAIN}/transactions", json={"entries": entries}, headers={"Idempotency-Key": key})


def killed(placement: Placement, at: str) -> None:
    """Move the ledger main to west, and die at a step."""
    east, west = placement.installations
    with pytest.raises(Killed):
        Mover("main", east, west, CONTEXT, dying(at)).run()


def aged(placement: Placement) -> None:
    """Have all moves stand as they stand for a minute."""
    for _, database in placement.installations:
        with database.connect_as_owner("test") as owner:
            owner.execute("UPDATE ledger_moves SET changed_at = now() - interval '1 minute'")


def called(placement: Placement, *arguments: str) -> tuple[int, str, str]:
    """How a command of the placement ended, and what it said on standard output and standard error."""
    result = invoke(application([arguments[0]]), arguments, **environment_of(placement.installations))
    return result.exit_code, result.stdout, result.stderr


def stuck_of_command(placement: Placement, *arguments: str) -> list[dict[str, Any]]:
    asked = ("--move-seconds", "0", "--payout-seconds", "0", "--json")
    return without_age(json.loads(called(placement, "stuck", *asked, *arguments)[1]))


def stuck_of_route(client: httpx2.Client, **asked: Any) -> list[dict[str, Any]]:
    answer = client.get("/v1/stuck", params=AT_ONCE | asked)
    return without_age(answer.raise_for_status().json()["data"])


def without_age(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: of for name, of in item.items() if name != "age_seconds"} for item in listed]


def test_writes_that_a_dead_move_has_stopped_are_stuck(placement: Placement) -> None:
    with placement.client() as client:
        killed(placement, "leave")
        assert posted(client, "second").json()["code"] == "ledger_moving"
        for remedy in ("wait", "finish_or_cancel_move"):
            traced = client.get(f"{MAIN}/operations/first/trace").raise_for_status().json()
            by_command = json.loads(called(placement, "trace", "first", "--json")[1])
            (concern,) = concerns_of(traced, "ledger_moving")
            assert concerns_of(by_command, "ledger_moving") == [concern]
            assert (concern["remedy"], f"`{FINISH}`" in concern["safe_to_do"]) == (remedy, remedy != "wait")
            aged(placement)
        (found,) = stuck_of_route(client)
        assert (found["kind"], found["ledger"], found["installation"]) == ("move_unfinished", "main", "east")
        assert (found["remedy"], found["resource"]) == ("finish_or_cancel_move", MAIN)
        assert f"`{FINISH}`" in found["safe_to_do"]
        assert "`tallystick place main --cancel`" in found["safe_to_do"]
        for arguments in ((), ("--installation", "east")):
            assert stuck_of_command(placement, *arguments) == [found]
        assert stuck_of_command(placement, "--installation", "west") == []
        assert called(placement, "place", "main", "--cancel")[0] == 0
        assert stuck_of_command(placement) == stuck_of_route(client) == []
        posted(client, "second").raise_for_status()


def test_a_ledger_between_two_installations_is_stuck(placement: Placement) -> None:
    with placement.client() as client:
        killed(placement, "arrive")
        assert client.get("/v1/stuck").json()["data"] == []  # a move that goes on is not
        assert called(placement, "stuck")[:2] == (0, "Nothing is stuck.\n")
        aged(placement)
        answer = client.get("/v1/stuck").json()
        (found,) = without_age(answer["data"])
        assert (found["kind"], found["installation"]) == ("move_not_arrived", "east")
        assert "left east, and has not arrived at west" in found["why"]
        assert f"`{FINISH}`" in found["safe_to_do"]
        totals = {total["kind"]: total["count"] for total in answer["totals"]}
        assert (totals["move_not_arrived"], totals["move_unfinished"]) == (1, 0)
        assert [found] == stuck_of_route(client, installation="east") == stuck_of_command(placement)
        assert stuck_of_route(client, installation="west") == []
        metrics = client.get("/metrics").text
        for name, number in (("east", 1), ("west", 0)):
            of_kind = f'tallystick_stuck{{installation="{name}",kind="move_not_arrived"}} {number}.0'
            assert of_kind in metrics
        code, shown, _ = called(placement, "stuck")
        assert (code, FINISH in shown) == (1, True)
        assert called(placement, *FINISH.split()[1:])[0] == 0
        assert stuck_of_route(client) == stuck_of_command(placement) == []


def test_only_who_may_see_the_ledger_is_told_that_it_is_between_two(placement: Placement) -> None:
    with placement.client() as client:
        made = client.post("/v1/keys", json={"name": "beside", "roles": ["operator"], "ledgers": ["beside"]})
        killed(placement, "arrive")
        with placement.client(made.raise_for_status().json()["key"]) as other:
            assert stuck_of_route(other) == []
        assert len(stuck_of_route(client)) == 1


def test_the_story_of_a_request_to_a_ledger_between_two_is_told(placement: Placement) -> None:
    with placement.client() as client:
        asked = {"correlation_id": client.get(f"{MAIN}/operations/first").json()["correlation_id"]}
        whole = client.get("/v1/trace", params=asked).json()["timeline"]
        killed(placement, "arrive")
        (trace,) = client.get("/v1/trace", params=asked).raise_for_status().json()["traces"]
        assert (trace["ledger"], trace["installation"]) == ("main", "east")
        assert trace["verdict"]["code"] == "posted"
        (concern,) = concerns_of(trace)
        assert concern["remedy"] == "wait"  # a mover that lives takes moments
        aged(placement)
        told = client.get("/v1/trace", params=asked).json()
        assert recorded(told) == recorded({"timeline": whole})
        (concern,) = concerns_of(told["traces"][0])
        assert "left east and has not arrived at west" in concern["words"]
        assert (concern["remedy"], f"`{FINISH}`" in concern["safe_to_do"]) == ("finish_move", True)
        for arguments in (("first",), ("first", "--ledger", "main"), (asked["correlation_id"],)):
            code, said, _ = called(placement, "trace", *arguments, "--json")
            assert (code, concerns_of(json.loads(said))) == (0, [concern])
        code, shown, _ = called(placement, "trace", "first")
        assert (code, FINISH in " ".join(shown.split())) == (0, True)
        code, _, words = called(placement, "trace", "never-sent", "--ledger", "main")
        assert (code, FINISH in words) == (3, True)
        assert called(placement, "trace", "never-sent")[0] == 3
        assert called(placement, *FINISH.split()[1:])[0] == 0
        eventually(lambda: client.get("/v1/trace", params=asked).json()["traces"] != [])
        for trace in client.get("/v1/trace", params=asked).json()["traces"]:
            assert (trace["installation"], concerns_of(trace)) == ("west", [])


def concerns_of(trace: dict[str, Any], code: str = "ledger_between") -> list[dict[str, Any]]:
    return [each for each in trace["verdict"]["concerns"] if each["code"] == code]


def recorded(told: dict[str, Any]) -> list[tuple[int, str]]:
    kinds = ("request_accepted", "event_recorded")
    return [(moment["position"], moment["subject"]) for moment in told["timeline"] if moment["kind"] in kinds]


def test_the_command_and_the_route_say_one_thing_of_a_bridge(placement: Placement) -> None:
    bridge = {
        "account": "a",
        "amount": 5,
        "provider": "bridge",
        "destination": {"ledger": "beside", "account": "a"},
    }
    west = placement.database("west")
    with placement.client() as client, west.connect_as_owner("test") as owner:
        account = {"address": "debtor", "asset": "USD/2", "normal_side": "credit", "min_balance": None}
        client.post(f"{MAIN}/accounts", json=account).raise_for_status()
        with owner.transaction(force_rollback=True):
            owner.execute("SELECT FROM head FOR UPDATE")  # so nobody posts it in west meanwhile
            made = client.post(f"{MAIN}/payouts", json=bridge, headers={"Idempotency-Key": "held-up"})
            path = made.raise_for_status().headers["location"]

            def told() -> list[dict[str, Any]]:
                listed = stuck_of_route(client, installation="east")
                return [found for found in listed if found["resource"] == path]

            eventually(lambda: bool(told()) and told()[0]["kind"] == "payout_submitted")
            with placement.database("east").connect("test") as home:
                take(home, "north", ["beside"])
                said = stuck_of_command(placement, "--installation", "east")
                unnamed = told()
                traced = [
                    json.loads(called(placement, "trace", "held-up", *named, "--json")[1])["verdict"]
                    for named in ((), ("--installation", "east"))
                ]
                take(home, "west", ["beside"])
        assert said == unnamed
        assert unnamed[0]["remedy"] == "name_installation" and "installation north" in unnamed[0]["why"]
        for verdict in traced:
            assert verdict["remedy"] == "name_installation"
            assert verdict["safe_to_do"] == unnamed[0]["safe_to_do"]
