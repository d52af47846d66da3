"""Upgrading to a placement: one service of the present release over installations that older releases still serve.

Two older services, each of one installation, and the newer service over both run as real processes, side by side, while
customers move money in a ledger of each installation through whichever answers.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from psycopg import Connection

from domain.journal.database import Database
from domain.model.accounts import Account
from domain.model.transactions import Made
from projections.audit import differences, one_instant, violations
from tests.ledgers import folded, history
from tests.placements import beside, environment_of, prepared
from tests.service import KEY, ROOT, Service, serving
from tests.upgrade.customers import ADDRESSES, OF_CUSTOMERS, Customers, until
from tests.upgrade.older_release import make_older_release

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

LEDGERS = {"east": "main", "west": "payroll"}
"""The ledger of each installation, home first."""

BRIDGED = 7
"""What goes over a bridge from the ledger in east to the one in west."""

# Two older services and the newer one over two installations are enough for two processors.
SETTINGS = {"TALLYSTICK_PROJECTORS": "1", "TALLYSTICK_WITNESS_SECONDS": "1"}


class Upgrade:
    """Two installations on one database, the services that come and go, and the customers of each ledger."""

    def __init__(self, folder: Path, database: Database, stack: ExitStack) -> None:
        # The present release has migrated both before, as the older releases find them in the middle of an upgrade.
        installations = beside(database, *LEDGERS)
        prepared(installations)
        self.placed = {found.name: found for found in installations}
        self.customers = {name: Customers(ledger, count=1) for name, ledger in LEDGERS.items()}
        self._folder = folder
        self._stack = stack
        self._older = make_older_release(folder / "older")

    def start_older(self, name: str) -> Service:
        """Start an older release on one installation, and tell the customers of its ledger."""
        url, schema = self.placed[name].database
        options = ("--database-url", url, "--schema", schema)
        service = self._start(*options, root=self._older, settings=SETTINGS)
        self.customers[name].services.append(service)
        return service

    def start_newer(self) -> Service:
        """Start the present release over both installations, and tell all customers."""
        settings = {**SETTINGS, **environment_of(list(self.placed.values()))}
        service = self._start(root=ROOT, settings=settings)
        for customers in self.customers.values():
            customers.services.append(service)
        return service

    def end(self, service: Service) -> None:
        """Stop a service as an operator does, while it serves requests."""
        for customers in self.customers.values():
            if service in customers.services:
                customers.services.remove(service)
        assert service.stop() == 0

    def await_answers(self, **services: tuple[Service, ...]) -> None:
        """Wait until each of the services has answered some more requests about the ledger of its installation."""
        for name, of in services.items():
            self.customers[name].await_answers(*of)

    def _start(self, *options: str, root: Path, settings: dict[str, str]) -> Service:
        return self._stack.enter_context(
            serving(self._folder / "data", *options, root=root, settings=settings)
        )


@pytest.fixture
def upgrade(tmp_path: Path, database: Database) -> Iterator[Upgrade]:
    with ExitStack() as stack:
        yield Upgrade(tmp_path, database, stack)


def open_book(service: Service, ledger: str) -> None:
    """Open a ledger and the accounts of its customers."""
    with service.client() as client:
        assert client.post("/v1/ledgers", json={"name": ledger}).status_code == 201
        for address in ADDRESSES:
            account = {"address": address, "asset": "USD/2", "normal_side": "credit"}
            assert client.post(f"/v1/ledgers/{ledger}/accounts", json=account).status_code == 201


def test_a_placement_takes_over_from_services_of_one_installation(upgrade: Upgrade) -> None:
    older = {name: upgrade.start_older(name) for name in LEDGERS}
    for name, ledger in LEDGERS.items():
        open_book(older[name], ledger)
    with ExitStack() as busy:
        for customers in upgrade.customers.values():
            busy.enter_context(customers.busy())
        upgrade.await_answers(**{name: (service,) for name, service in older.items()})
        newer = upgrade.start_newer()
        upgrade.await_answers(**{name: (service, newer) for name, service in older.items()})
        both_show_the_same(older, newer)
        what_is_witnessed_stops_no_older(upgrade, older)
        a_bridge_is_seen_by_both(older, newer)
        a_ledger_of_the_older_is_entered_at_the_next_start(upgrade, older["west"], newer)
        # Rolled back as a whole: the older services are still there, and go on.
        upgrade.end(newer)
        upgrade.await_answers(**{name: (service,) for name, service in older.items()})
        newer = upgrade.start_newer()
        is_entered(newer)
        # One installation after the other, home last; and one of them rolled back meanwhile.
        upgrade.end(older["west"])
        upgrade.await_answers(east=(older["east"], newer), west=(newer,))
        older["west"] = upgrade.start_older("west")
        upgrade.await_answers(east=(older["east"], newer), west=(older["west"], newer))
        upgrade.end(older["west"])
        upgrade.end(older["east"])
        upgrade.await_answers(east=(newer,), west=(newer,))
    assert newer.stop() == 0
    for name in LEDGERS:
        nothing_is_lost_or_done_twice(upgrade, name)


def get(service: Service, path: str, **query: Any) -> httpx2.Response:
    """Read something, waiting for the named position."""
    headers = {"Authorization": f"Bearer {KEY}", "Prefer": "wait=30"}
    return httpx2.get(f"{service.url}{path}", params=query, headers=headers, timeout=60.0, trust_env=False)


def both_show_the_same(older: dict[str, Service], newer: Service) -> None:
    """Each shows what the other has acknowledged, of the ledgers that it serves."""
    for name, ledger in LEDGERS.items():
        for first, second in ((older[name], newer), (newer, older[name])):
            account = get(first, f"/v1/ledgers/{ledger}/accounts/{ADDRESSES[0]}")
            position = int(account.headers["Ledger-Position"])
            for path in ("accounts", f"accounts/{ADDRESSES[0]}/entries", "transactions"):
                listed = get(second, f"/v1/ledgers/{ledger}/{path}", min_position=position)
                assert listed.status_code == 200, listed.text
                assert int(listed.headers["Ledger-Position"]) >= position
        assert get(newer, f"/v1/ledgers/{ledger}").headers["Ledger-Installation"] == name
        other = next(service for found, service in older.items() if found != name)
        assert get(other, f"/v1/ledgers/{ledger}").status_code == 404


def a_bridge_is_seen_by_both(older: dict[str, Service], newer: Service) -> None:
    """A bridge between the ledgers of both installations ends while older releases serve each of them alone."""
    account = {"account": ADDRESSES[0]}
    body = {
        **account,
        "amount": BRIDGED,
        "provider": "bridge",
        "destination": {**account, "ledger": "payroll"},
    }
    with newer.client() as client:
        asked = client.post("/v1/ledgers/main/payouts", json=body, headers={"Idempotency-Key": "bridge-1"})
    assert asked.status_code == 202, asked.text
    path = asked.headers["location"]
    until(lambda: get(newer, path).json()["state"] == "completed")
    assert get(older["east"], path).json()["state"] == "completed"
    for name, ledger in LEDGERS.items():
        other = LEDGERS["west" if name == "east" else "east"]
        seen = [
            get(service, f"/v1/ledgers/{ledger}/accounts/bridges:{other}:USD").json()["balance"]
            for service in (older[name], newer)
        ]
        assert seen == [-BRIDGED if name == "east" else BRIDGED] * 2


def what_is_witnessed_stops_no_older(upgrade: Upgrade, older: dict[str, Service]) -> None:
    """The newer release records what each installation signed in the other. The older one passes over that."""
    for name, ledger in LEDGERS.items():
        with upgrade.placed[name].database.connect("test") as connection:
            until(lambda: witnessed_at(connection))
            position = witnessed_at(connection)
        listed = get(older[name], f"/v1/ledgers/{ledger}/transactions", min_position=position)
        assert listed.status_code == 200, listed.text


def witnessed_at(connection: Connection[Any]) -> int:
    """The position of the newest record of witnessing, 0 if there is none."""
    query = "SELECT coalesce(max(notification_id), 0) FROM events WHERE topic = 'checkpoint.witnessed'"
    ((position,),) = connection.execute(query).fetchall()
    return int(position)


def a_ledger_of_the_older_is_entered_at_the_next_start(
    upgrade: Upgrade, older: Service, newer: Service
) -> None:
    """The older release does not know the map, so a ledger that it opens is in it only from the next start on."""
    open_book(older, "late")
    assert get(newer, "/v1/ledgers/late").status_code == 404


def is_entered(newer: Service) -> None:
    found = get(newer, "/v1/ledgers/late")
    assert (found.status_code, found.headers["Ledger-Installation"]) == (200, "west")


def nothing_is_lost_or_done_twice(upgrade: Upgrade, name: str) -> None:
    """Assert that what customers were told is in the journal once, and that both folds of it agree."""
    answered, database = upgrade.customers[name].answered, upgrade.placed[name].database
    events = history(database)
    made = Counter(event.envelope.idempotency_key for event in events if isinstance(event.event, Made))
    of_customers = [key for key in made if key and key.startswith(OF_CUSTOMERS)]
    assert sorted(of_customers) == sorted(asked.request.key for asked in answered)
    assert set(made.values()) == {1}
    sums: Counter[str] = Counter(dict.fromkeys(ADDRESSES, 0))
    sums[ADDRESSES[0]] = -BRIDGED if name == "east" else BRIDGED
    for _, answer in answered:
        if answer["status"] == "posted" and answer["kind"] in ("posting", "settlement"):
            for entry in answer["entries"]:
                sums[entry["account"]] += entry["amount"] * (1 if entry["direction"] == "credit" else -1)
    states = folded(events)
    for address in ADDRESSES:
        account = states[f"{LEDGERS[name]}/accounts/{address}"]
        assert isinstance(account, Account)
        assert account.posted_credits - account.posted_debits == sums[address]
    with database.connect("test audit") as connection:
        assert differences(connection) == []
        with one_instant(connection):
            assert list(violations(connection)) == []
