"""Two releases side by side on one database, under load: a deploy, its roll-back, and the next attempt.

An older release (tests/upgrade/older_release.py) and the present one run as real processes, started in either order,
while customers move money through both.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from psycopg import Connection

from domain.journal.database import Database
from domain.model.accounts import Account
from domain.model.errors import InsufficientFunds
from domain.model.transactions import Made
from projections.audit import differences, one_instant, violations
from projections.registry import PROJECTIONS
from tests.ledgers import folded, history
from tests.service import KEY, ROOT, Service, post_account, post_ledger, serving, transfer_body
from tests.upgrade.customers import ADDRESSES, BOOK, OF_CUSTOMERS, Answered, Customers, Request, send, until
from tests.upgrade.older_release import LOWERED_TOPIC, OLDER_SHAPE, RESHAPED, make_older_release

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

REPLAYED = 100


class Deploy:
    """One database, and the releases that come and go."""

    def __init__(self, folder: Path, database: Database, stack: ExitStack) -> None:
        self.customers = Customers()
        self._folder = folder
        self._database = database
        self._stack = stack
        authorized = {"Authorization": f"Bearer {KEY}"}
        self.client = stack.enter_context(httpx2.Client(headers=authorized, timeout=60.0, trust_env=False))

    def start(self, root: Path) -> Service:
        """Start a release and tell the customers."""
        options = ("--database-url", self._database.url, "--schema", self._database.schema)
        service = self._stack.enter_context(serving(self._folder / "data", *options, root=root))
        if not self.customers.services:
            self._open(service)
        self.customers.services.append(service)
        return service

    def end(self, service: Service) -> None:
        """Stop a release as an operator does, while it serves requests."""
        self.customers.services.remove(service)
        assert service.stop() == 0

    def _open(self, service: Service) -> None:
        with service.client() as client:
            post_ledger(client)
            for address in (*ADDRESSES, "frozen", "poor", "rich", "till"):
                post_account(client, address, **({"min_balance": 0} if address == "poor" else {}))

    def send(self, service: Service, request: Request, status: int) -> httpx2.Response:
        """Send a request and expect a status."""
        answer = send(self.client, service, request)
        assert answer.status_code == status, answer.text
        return answer

    def get(self, service: Service, path: str, wait_seconds: int = 30, **query: Any) -> httpx2.Response:
        """Read something, waiting for the named position."""
        preferring = {"Prefer": f"wait={wait_seconds}"}
        return self.client.get(f"{service.url}{path}", params=query, headers=preferring)

    def post(self, service: Service, path: str, reason: str) -> int:
        """Send a request that needs a reason and no key. Return the position in the answer, 0 if none."""
        answer = self.client.post(f"{service.url}{path}", json={"reason": reason})
        assert answer.status_code == 200, answer.text
        return int(answer.headers.get("Ledger-Position", 0))

    def projection(self, service: Service, name: str) -> dict[str, Any]:
        """A projection, as a release sees it."""
        return dict(self.get(service, f"/v1/projections/{name}").json())


@pytest.fixture
def deploy(tmp_path: Path, database: Database) -> Iterator[Deploy]:
    """A database without a release."""
    with ExitStack() as stack:
        yield Deploy(tmp_path, database, stack)


def refused(key: str) -> Request:
    """A request that a rule refuses."""
    return Request(key, "transactions", transfer_body("poor", "rich", 5))


def of_frozen(key: str, prefer: str = "") -> Request:
    """A request about the account whose stream the older release cannot read."""
    return Request(key, "transactions", transfer_body("frozen", "rich", 5), prefer)


@pytest.mark.parametrize("newer_first", [False, True], ids=["older first", "newer first"])
def test_two_releases_side_by_side(
    deploy: Deploy, tmp_path: Path, database: Database, owner: Connection[Any], newer_first: bool
) -> None:
    older_root = make_older_release(tmp_path / "older")
    roots = [ROOT, older_root] if newer_first else [older_root, ROOT]
    first = deploy.start(roots[0])
    with deploy.customers.busy():
        deploy.customers.await_answers(first)
        second = deploy.start(roots[1])
        older, newer = (second, first) if newer_first else (first, second)
        deploy.customers.await_answers(older, newer)
        each_reads_its_own(deploy, older, newer, owner)
        refusals_are_the_same(deploy, older, newer, owner)
        what_the_older_cannot_read_it_refuses(deploy, older, newer)
        keys_of_the_newer_stop_nobody(deploy, older, newer)
        deploy.customers.await_answers(older, newer)
        each_reads_its_own(deploy, older, newer, owner)
        newer_at = roll_back(deploy, older, newer)
        deploy.customers.await_answers(older)
        the_older_has_halted(deploy, older, newer_at)
        newer = deploy.start(ROOT)
        deploy.customers.await_answers(older, newer)
        each_reads_its_own(deploy, older, newer, owner)
        deploy.end(older)
        deploy.customers.await_answers(newer)
    nothing_is_lost_or_done_twice(deploy, newer, database)
    every_projection_equals_the_fold(deploy, newer, owner)
    assert newer.stop() == 0


def each_reads_its_own(deploy: Deploy, older: Service, newer: Service, owner: Connection[Any]) -> None:
    """Each release shows everything acknowledged, reading the projection with two shapes from two versions."""
    request = Request(str(uuid4()), "transactions", transfer_body("rich", "till", 1))
    moved = deploy.send(newer, request, 201)
    position = int(moved.headers["Ledger-Position"])
    for service in (older, newer):
        for path in ("accounts", "accounts/users:1/entries", "transactions", "balances"):
            read = deploy.get(service, f"{BOOK}/{path}", min_position=position)
            assert read.status_code == 200, (path, service is older, read.text)
            assert int(read.headers["Ledger-Position"]) >= position
    versions = [
        {seen["name"]: seen["version"] for seen in deploy.get(service, "/v1/projections").json()["data"]}
        for service in (older, newer)
    ]
    assert {name for name in PROJECTIONS if versions[0][name] != versions[1][name]} == {RESHAPED}
    live = owner.execute(
        "SELECT shape, version FROM projection_versions WHERE name = %s AND live", (RESHAPED,)
    )
    of_shape = {OLDER_SHAPE: versions[0][RESHAPED], PROJECTIONS[RESHAPED].shape: versions[1][RESHAPED]}
    assert dict(live.fetchall()) == of_shape


def refusals_are_the_same(deploy: Deploy, older: Service, newer: Service, owner: Connection[Any]) -> None:
    """The newer release repeats the older one's refusals, stored in an older version, in the same words."""
    first = deploy.send(older, refused("refused-by-the-older"), 409)
    again = deploy.send(newer, refused("refused-by-the-older"), 409)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.content == first.content
    assert again.json()["detail"] == InsufficientFunds.explanation() and "account" not in again.json()
    stored = owner.execute(
        "SELECT convert_from(state, 'UTF8')::jsonb FROM events WHERE topic = %s AND notification_id = %s",
        (LOWERED_TOPIC, int(first.headers["Ledger-Position"])),
    ).fetchone()
    assert stored is not None and stored[0]["class_version"] == 2
    assert "details" not in stored[0]["data"]


def what_the_older_cannot_read_it_refuses(deploy: Deploy, older: Service, newer: Service) -> None:
    """It refuses an unknown event of an account and a newer version of a transaction's. Everything else goes on."""
    frozen_at = deploy.post(newer, f"{BOOK}/accounts/frozen/freeze", "by the newer release")
    is_not_readable(deploy.send(older, of_frozen("frozen-1"), 503))
    is_not_readable(deploy.get(older, f"{BOOK}/accounts/frozen"))
    assert deploy.get(newer, f"{BOOK}/accounts/frozen").json()["status"] == "frozen"
    # Nothing of it was kept, so the newer release decides. The older one cannot read what that records.
    by_newer = deploy.send(newer, of_frozen("frozen-1"), 409)
    assert (by_newer.json()["code"], by_newer.headers.get("Idempotent-Replayed")) == ("account_frozen", None)
    assert by_newer.json()["account"] == "frozen"
    is_not_readable(deploy.send(older, of_frozen("frozen-1"), 503))
    is_not_readable(deploy.get(older, f"{BOOK}/operations/frozen-1"))
    # A request accepted for later is accepted even though the older release may be the first to try it.
    deploy.send(newer, of_frozen("frozen-2", "respond-async"), 202)
    until(lambda: deploy.get(newer, f"{BOOK}/operations/frozen-2").json()["state"] == "rejected")
    # The older release skips the topic and notices with the stream's next event.
    for service, status in ((older, "open"), (newer, "frozen")):
        (listed,) = deploy.get(service, f"{BOOK}/accounts", prefix="frozen", min_position=frozen_at).json()[
            "data"
        ]
        assert listed["status"] == status
    deploy.post(newer, f"{BOOK}/accounts/frozen/unfreeze", "by the newer release")
    until(lambda: deploy.projection(older, RESHAPED)["dead_letters"] == 1)
    assert deploy.projection(newer, RESHAPED)["dead_letters"] == 0
    is_not_readable(deploy.send(older, of_frozen("frozen-3"), 503))
    deploy.send(newer, of_frozen("frozen-3"), 201)


def keys_of_the_newer_stop_nobody(deploy: Deploy, older: Service, newer: Service) -> None:
    """Recorded changes of keys belong to no ledger, so a release that cannot read them does not need to."""
    body = {"name": "side by side", "roles": ["auditor"], "ledgers": ["main"]}
    made = deploy.client.post(f"{newer.url}/v1/keys", json=body)
    assert made.status_code == 201, made.text
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    for service in (older, newer):
        answer = httpx2.get(f"{service.url}{BOOK}/accounts/rich", headers=headers, trust_env=False)
        assert answer.status_code == 200, answer.text
    deploy.client.delete(f"{newer.url}/v1/keys/{made.json()['id']}")
    trail = deploy.get(newer, "/v1/audit/events", page_size=1000).json()["data"]
    assert [event["type"] for event in trail[-2:]] == ["key.made", "key.revoked"]


def is_not_readable(answer: httpx2.Response) -> None:
    """Assert that a release says that it is too old to answer."""
    assert answer.status_code == 503, answer.text
    assert (answer.json()["code"], answer.json()["reason"]) == ("journal_unavailable", "newer_version")


def roll_back(deploy: Deploy, older: Service, newer: Service) -> int:
    """Stop the newer release just after it recorded an event that a shared projection has not read yet.

    Returns the event's position.
    """
    deploy.post(newer, "/v1/projections/transactions/pause", "before the roll-back")
    answer = deploy.send(newer, refused("refused-by-the-newer"), 409)
    deploy.end(newer)
    deploy.post(older, "/v1/projections/transactions/resume", "after the roll-back")
    return int(answer.headers["Ledger-Position"])


def the_older_has_halted(deploy: Deploy, older: Service, newer_at: int) -> None:
    """At the newer event it waits for a release that can read it, and says so. Everything else goes on."""
    until(lambda: deploy.projection(older, "transactions")["state"] == "halted")
    seen = deploy.projection(older, "transactions")
    assert seen["position"] == newer_at - 1
    assert seen["last_error"].startswith("newer_version: ")
    until(lambda: says_that_it_halted(deploy.get(older, f"{BOOK}/transactions", 0, min_position=newer_at)))
    for path in ("accounts", "accounts/users:1/entries", "balances"):
        read = deploy.get(older, f"{BOOK}/{path}", min_position=newer_at)
        assert read.status_code == 200, (path, read.text)
    # Earlier payments and refusals are answered as before, except those only the newer release can read.
    deploy.send(older, refused("refused-by-the-older"), 409)
    is_not_readable(deploy.send(older, refused("refused-by-the-newer"), 503))


def says_that_it_halted(answer: httpx2.Response) -> bool:
    """Assert that no stale answer is given. Tell whether the reason for having no answer is known already."""
    assert answer.status_code == 503, answer.text
    assert answer.json()["code"] == "projection_behind"
    return bool(answer.json()["state"] == "halted")


def nothing_is_lost_or_done_twice(deploy: Deploy, newer: Service, database: Database) -> None:
    """Assert that everything customers were told is in the journal once and answered alike, and nothing else moved
    money.
    """
    answered = deploy.customers.answered
    events = history(database)
    states = folded(events)
    made = Counter(event.envelope.idempotency_key for event in events if isinstance(event.event, Made))
    assert {asked.request.key for asked in answered} <= made.keys()
    assert set(made.values()) == {1}
    of_customers = [key for key in made if key and key.startswith(OF_CUSTOMERS)]
    assert sorted(of_customers) == sorted(asked.request.key for asked in answered)
    for asked in answered[:: max(1, len(answered) // REPLAYED)]:
        again = deploy.send(newer, asked.request, 201)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.json() == asked.answer
    deploy.send(newer, refused("refused-by-the-older"), 409)
    deploy.send(newer, refused("refused-by-the-newer"), 409)
    expected = moved(answered)
    for address in ADDRESSES:
        account = states[f"main/accounts/{address}"]
        assert isinstance(account, Account)
        assert (account.posted_debits, account.posted_credits) == expected[address]
        assert account.pending_debits == account.pending_credits == 0


def moved(answered: list[Answered]) -> dict[str, tuple[int, int]]:
    """Debits and credits of each account, summed from the customers' answers."""
    sums = Counter({(address, direction): 0 for address in ADDRESSES for direction in ("debit", "credit")})
    for _, answer in answered:
        if answer["status"] == "posted" and answer["kind"] in ("posting", "settlement"):
            for entry in answer["entries"]:
                sums[entry["account"], entry["direction"]] += entry["amount"]
    return {address: (sums[address, "debit"], sums[address, "credit"]) for address in ADDRESSES}


def every_projection_equals_the_fold(deploy: Deploy, newer: Service, owner: Connection[Any]) -> None:
    """Including those the older release had halted and those both releases shared."""
    for name in PROJECTIONS:
        until(lambda: at_head(deploy.projection(newer, name)))  # noqa: B023
    assert differences(owner) == []
    with one_instant(owner):
        assert list(violations(owner)) == []


def at_head(seen: dict[str, Any]) -> bool:
    assert seen["state"] == "running", seen
    return bool(seen["position"] == seen["head"])
