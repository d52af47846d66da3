"""`tallystick demo` on a running service: what it makes, that nothing doubles, and that where it points to is there."""

import re
import shlex
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx2
import pytest

from scripts import endings
from scripts.commands.developers import shop
from scripts.tallystick import application
from tests.commands import invoke
from tests.contract.serving import KEY, Served, serving
from tests.databases import Databases
from tests.outboxes import publishing
from tests.projecting import eventually
from tests.receiver import Receiver, receiving

LEDGER = "/v1/ledgers/shop"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def shopping(databases: Databases) -> Iterator[Served]:
    """A service whose webhooks may lead to loopback, with a publisher."""
    allowed = {"webhook_allow_http": True, "webhook_allow_private": True}
    with serving(databases, **allowed) as served, publishing(served.database):
        yield served


@pytest.fixture(scope="module")
def printed(shopping: Served, receiver: Receiver) -> str:
    """What the first run prints."""
    return run(shopping, receiver.url)


def run(service: Served, webhook: str) -> str:
    app = application(["demo"])
    options = ["--key", KEY, "--url", service.url, "--webhook", webhook]
    done = invoke(app, ["demo", *options])
    assert done.exit_code == endings.DONE, done.stderr
    # The service, which runs in the same process, logs in between.
    return "".join(line for line in done.stdout.splitlines(True) if not re.match(r"\d{4}-\d\d-\d\d ", line))


def rows(client: httpx2.Client, path: str) -> list[dict[str, Any]]:
    position = client.get(LEDGER).headers["ledger-position"]
    # Only the lists of a ledger wait for a position.
    asked: dict[str, str] = {"page_size": "1000"}
    if path.startswith(LEDGER):
        asked["min_position"] = position
    found: list[dict[str, Any]] = client.get(path, params=asked).json()["data"]
    return found


def test_it_fills_the_books_with_one_of_everything(shopping: Served, printed: str) -> None:
    with shopping.client() as client:
        transactions = rows(client, f"{LEDGER}/transactions")
        kinds = {(each["kind"], each["status"]) for each in transactions}
        assert kinds >= {
            ("posting", "posted"),
            ("posting", "rejected"),
            ("hold", "settled"),
            ("hold", "voided"),
            ("hold", "pending"),
            ("settlement", "posted"),
            ("void", "posted"),
            ("reversal", "posted"),
        }
        payouts = {
            each["reference"].rpartition(" ")[2]: each["state"] for each in rows(client, f"{LEDGER}/payouts")
        }
        assert payouts == {state: state for state in shop.PAYOUTS}
        accounts = {each["address"]: each for each in rows(client, f"{LEDGER}/accounts")}
        assert accounts["customers:cleo"]["status"] == "frozen"
        assert accounts["customers:dora"]["status"] == "closed"
        assert accounts["customers:ben"]["min_balance"] == -5_000
        assert accounts["customers:ada"]["balance"] == 20_000 - 2_750
        assert accounts["customers:ben"]["balance"] == 8_000 - 3_200 + 800
        orders = [each for each in transactions if each["idempotency_key"].startswith("order-")]
        assert len(orders) == shop.DAYS * shop.ORDERS_A_DAY
        assert len({each["effective_at"][:10] for each in orders}) == shop.DAYS
        assert all(each["effective_at"] < each["recorded_at"] for each in orders)
        states = {each["url"]: each["state"] for each in rows(client, "/v1/webhooks")}
        assert sorted(states.values()) == ["disabled", "enabled", "enabled"]


def test_the_webhooks_are_told_and_one_fails(shopping: Served, receiver: Receiver, printed: str) -> None:
    with shopping.client() as client:
        silent, disabled, own = (
            next(each["id"] for each in rows(client, "/v1/webhooks") if words in each["url"])
            for words in ("hooks.shop", "archive.shop", receiver.url)
        )
        assert f"webhook {own}: yours" in printed and "whsec_" in printed
        secret = re.findall(r"whsec_\S+", printed)[0]
        eventually(lambda: len(receiver.received) >= shop.DAYS * shop.ORDERS_A_DAY)
        told = {each.verified(secret)["type"] for each in receiver.received}
        assert "transaction.posted" in told

        def failures() -> list[str]:
            found = client.get(f"/v1/webhooks/{silent}/deliveries").json()["data"]
            return [attempt["outcome"] for each in found for attempt in each["attempts"]]

        eventually(lambda: "failed" in failures())
        waiting = client.get(f"/v1/webhooks/{disabled}/deliveries").json()["data"]
        assert not [each for each in waiting if each["attempts"]]


def test_a_second_run_doubles_nothing(shopping: Served, receiver: Receiver, printed: str) -> None:
    with shopping.client() as client:
        places = [*(f"{LEDGER}/{name}" for name in ("accounts", "transactions", "payouts")), "/v1/webhooks"]

        def made() -> list[list[str]]:
            return [[each.get("address") or each["id"] for each in rows(client, place)] for place in places]

        def money() -> list[Any]:
            return [(each["address"], each["posted"], each["pending"]) for each in rows(client, places[0])]

        before = made(), money()
        again = run(shopping, receiver.url)
        assert (made(), money()) == before
        assert re.sub(r"; its secret.*", "", printed) == again


def test_where_it_points_to_is_there(shopping: Served, printed: str) -> None:
    places = re.findall(r"^  (http\S+/console\S*)", printed, re.M)
    assert len(places) > 5
    with httpx2.Client(trust_env=False) as browser:
        home = {"Origin": shopping.url, "Sec-Fetch-Site": "same-origin"}
        signed_in = browser.post(f"{shopping.url}/console/sign-in", data={"key": KEY}, headers=home)
        assert signed_in.status_code == 303
        assert {place: browser.get(place).status_code for place in places} == dict.fromkeys(places, 200)


def test_the_commands_that_it_names_have_something_to_show(
    shopping: Served, printed: str, capfd: pytest.CaptureFixture[str]
) -> None:
    commands = re.findall(r"^  tallystick (.*?)  ", printed, re.M)
    assert len(commands) == 5
    for command in commands:
        name, *options = shlex.split(command)
        database = ["--database-url", shopping.database.url, "--schema", shopping.database.schema]
        ended = endings.run(partial(application, [name]), [name, *options, *database])
        output, _ = capfd.readouterr()
        assert ended in (endings.DONE, endings.WARNINGS) and len(output.splitlines()) > 1, command


def test_a_ledger_of_others_is_left_alone(shopping: Served) -> None:
    with shopping.client() as client:
        assert client.post("/v1/ledgers", json={"name": "theirs"}).status_code == 201
        app = application(["demo"])
        done = invoke(app, ["demo", "--key", KEY, "--url", shopping.url, "--ledger", "theirs"])
        assert done.exit_code == endings.ERRORS and "--ledger" in done.stderr
        assert client.get("/v1/ledgers/theirs/accounts").json()["data"] == []
