"""From Now to the safe action for each kind of stuck thing, in at most two clicks."""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect
from psycopg import Connection

from api.resources.operations.stuck_schemas import StuckQuery
from domain.application import LedgerApplication
from domain.model.payouts.attempts import RecordSilence, SubmitPayout
from domain.model.payouts.payout import Payout
from projections.diagnosis.stuck.catalogue import CATALOGUE, StuckKind, Thresholds
from projections.engine.leadership import try_acquire
from projections.process_managers.due_worker import Worker
from projections.process_managers.payer import Payer
from tests.browser.browsing import require_accessible
from tests.contract.books import Book
from tests.contract.journals import await_time, soon
from tests.contract.serving import Served, serving
from tests.databases import Databases
from tests.ledgers import CONTEXT, running
from tests.payouts import PATIENCE_SECONDS, a_mark, a_report
from tests.poisoning import Poisoned, poisoned
from tests.projecting import eventually

pytestmark = pytest.mark.browser


class Scene(NamedTuple):
    """A service in which nobody carries out what is accepted, and the means to get things stuck in it."""

    book: Book
    ledger: LedgerApplication
    owner: Connection[Any]
    balances: Poisoned

    def of_nats(self, assignments: str) -> None:
        """Have a projection that no process advances, in a state."""
        self.owner.execute(
            "INSERT INTO projections VALUES ('nats', 1) ON CONFLICT DO NOTHING;"
            " INSERT INTO projection_versions (name, version, live) VALUES ('nats', 1, true) ON CONFLICT DO NOTHING;"
            f" UPDATE projection_versions SET {assignments} WHERE name = 'nats'".encode()
        )

    def payout(self) -> str:
        """Request a payout. Return its id."""
        made = self.book.pay_out()
        assert made.status_code == 202
        id: str = made.json()["id"]
        return id

    def submitted(self) -> Payout:
        """A payout that the provider was called for."""
        seen, _ = self.ledger.payout("main", self.payout())
        state: Payout = self.ledger.perform(SubmitPayout(CONTEXT, seen, a_mark(), PATIENCE_SECONDS)).state
        return state

    def hook(self) -> str:
        """A webhook with deliveries that nobody makes. Return its path."""
        body = {"url": "https://93.184.216.34/x", "ledgers": ["main"], "types": ["*"]}
        path = f"/v1/webhooks/{self.book.client.post('/v1/webhooks', json=body).json()['id']}"
        self.book.transfer("a", "b", 1)
        eventually(lambda: bool(self.book.client.get(f"{path}/deliveries").json()["data"]))
        return path


def block(scene: Scene) -> None:
    scene.owner.execute("BEGIN; SELECT FROM head FOR UPDATE")


def accept(scene: Scene) -> None:
    body = {
        "entries": [
            {"account": "a", "direction": "debit", "amount": 1},
            {"account": "b", "direction": "credit", "amount": 1},
        ]
    }
    assert scene.book.post(body, Prefer="respond-async").status_code == 202


def let_lapse(scene: Scene) -> None:
    end = soon(1)
    assert scene.book.hold("a", "b", 1, expires_at=end).status_code == 201
    await_time(end)


def doubt(scene: Scene) -> None:
    scene.ledger.perform(RecordSilence(CONTEXT, scene.submitted(), a_mark(), "submission", "ReadTimeout"))


def contradict(scene: Scene) -> None:
    submitted = scene.submitted()
    for verdict in ("completed", "failed"):
        scene.ledger.perform(a_report(submitted, verdict))


def disable(scene: Scene) -> None:
    scene.book.client.post(f"{scene.hook()}/disable", json={"reason": "it is moved"})


def give_up(scene: Scene) -> None:
    path = scene.hook()
    scene.owner.execute(
        "UPDATE deliveries SET state = 'failed', due_at = NULL, reason = 'answered 500' WHERE webhook_id = %s",
        (path.rpartition("/")[2],),
    )


def poison(scene: Scene) -> None:
    address = uuid4().hex
    scene.balances.streams.add(f"main/accounts/{address}")
    scene.book.open(address)
    eventually(lambda: bool(scene.book.client.get("/v1/dead-letters?state=open").json()["data"]))


def cut_off(scene: Scene) -> None:
    scene.owner.execute(
        "INSERT INTO ledger_moves (ledger, state, installation) VALUES ('cut-off', 'frozen', 'west')"
    )


def hang(scene: Scene) -> None:
    scene.of_nats("state = 'running', last_error = NULL")
    assert try_acquire(scene.owner, "publish", "nats")


def fail(scene: Scene) -> None:
    scene.of_nats("state = 'running', last_error = 'no broker'")
    assert try_acquire(scene.owner, "publish", "nats")


class Case(NamedTuple):
    """How a thing gets stuck, and where its button on Now leads: `found` is there after one click.

    With `does` a second click does it, and says so in these words.
    """

    make: Callable[[Scene], object]
    button: str
    found: str
    does: str = ""


CASES: dict[StuckKind, Case] = {
    "session_blocking": Case(block, "What to do", r"SELECT pg_terminate_backend\(\d+\);"),
    "move_unfinished": Case(
        cut_off,
        "What to do",
        r"^tallystick place cut-off --on west --yes\ntallystick place cut-off --cancel$",
    ),
    "request_waiting": Case(accept, "What to do", r"^tallystick serve$"),
    "hold_lapsed": Case(let_lapse, "What to do", r"^tallystick serve$"),
    "payout_accepted": Case(Scene.payout, "What to do", r"^tallystick serve$"),
    "payout_submitted": Case(
        Scene.submitted, "Ask the provider", "Ask the provider now?", "Ask the provider"
    ),
    "payout_in_doubt": Case(doubt, "Ask the provider", "Ask the provider now?", "Ask the provider"),
    "payout_contradictory": Case(contradict, "It was paid", "Say that this payout was paid?"),
    "delivery_waiting": Case(Scene.hook, "See what the receiver answers", "What waits"),
    "delivery_failed": Case(give_up, "Send again", "Send this delivery again?", "Send again"),
    "webhook_disabled": Case(disable, "Enable", "Enable this webhook?", "Enable"),
    "stream_held": Case(poison, "Retry", "Retry this dead letter?", "Retry"),
    "projection_halted": Case(
        lambda scene: scene.of_nats("state = 'halted', last_error = 'no broker'"),
        "Resume",
        "Resume this projection?",
        "Resume",
    ),
    "projection_paused": Case(
        lambda scene: scene.of_nats("state = 'paused', last_error = NULL"),
        "Resume",
        "Resume this projection?",
        "Resume",
    ),
    "projection_behind": Case(
        lambda scene: scene.of_nats("state = 'running', last_error = NULL"),
        "What to do",
        r"^tallystick serve\ntallystick publish$",
    ),
    "projection_failing": Case(fail, "Resume", "Resume this projection?"),
    "projection_hanging": Case(hang, "What to do", r"tallystick projections restart nats"),
    "projection_rebuilding": Case(
        lambda scene: scene.of_nats("state = 'rebuilding', last_error = NULL"),
        "See the projection",
        "Projection nats",
    ),
}


@pytest.fixture(scope="module")
def balances() -> Iterator[Poisoned]:
    """The read model of balances, which fails where it is told to."""
    with poisoned("balances") as balances:
        yield balances


@pytest.fixture(scope="module")
def served(databases: Databases, balances: Poisoned) -> Iterator[Served]:
    """A service without a worker, a payer and a publisher, in which everything is stuck at once."""
    with pytest.MonkeyPatch.context() as patch:
        for part in (Worker, Payer):
            patch.setattr(part, "start", lambda self: None)
            patch.setattr(part, "stop", lambda self: None)
        patch.setattr(StuckQuery, "thresholds", property(lambda self: Thresholds(0, 0, 0, 0, 0, 0, 0)))
        patch.setattr("projections.diagnosis.stuck.search.HANGING_SECONDS", 0)
        with serving(databases) as served, served.client() as client:
            client.post("/v1/ledgers", json={"name": "main"})
            book = Book(client, "main")
            book.open("cash", normal_side="debit")
            for address in ("a", "b", "alice"):
                book.open(address)
            book.transfer("cash", "alice", 10_000)
            yield served


@pytest.fixture
def scene(served: Served, book: Book, balances: Poisoned) -> Iterator[Scene]:
    """The means to get things stuck in the service. In the end no session holds anything."""
    with (
        running(served.database) as ledger,
        served.database.connect_as_owner("test owner") as owner,
    ):
        yield Scene(book, ledger, owner, balances)
        owner.execute("ROLLBACK")


def test_there_is_a_case_for_each_kind_of_the_catalogue() -> None:
    alone = [kind for kind in CATALOGUE if kind != "move_not_arrived"]  # which takes two installations
    assert list(CASES) == alone


@pytest.mark.parametrize("kind", CASES)
def test_now_leads_to_the_safe_action(scene: Scene, page: Page, kind: StuckKind) -> None:
    case = CASES[kind]
    case.make(scene)
    page.goto("/console")
    row = page.locator(f"#need-{kind}")
    expect(row).to_be_visible()
    row.get_by_role("link", name=case.button, exact=True).click()
    if case.button == "What to do":
        expect(page.locator("pre").filter(has_text=re.compile(case.found))).not_to_have_count(0)
        (about, *_) = scene.book.client.get("/v1/stuck", params={"kind": kind}).json()["data"]
        expect(page.locator("main")).to_contain_text(about["safe_to_do"].replace("`", ""))
    else:
        expect(page.get_by_role("heading", name=case.found)).to_be_visible()
    require_accessible(page)
    if case.does:
        page.get_by_role("button", name=case.does, exact=True).click()
        expect(page.get_by_text(f"Done: {case.does}.")).to_be_visible()


def test_a_second_payout_is_not_offered_while_nobody_knows(scene: Scene, page: Page) -> None:
    doubt(scene)
    page.goto("/console/stuck?kind=payout_in_doubt")
    card = page.locator(".card.stuck").first
    expect(card.get_by_role("link", name="Ask the provider")).to_be_visible()
    expect(card.get_by_text("Pay out again under a new key")).to_have_attribute("aria-disabled", "true")
    expect(card.get_by_text("Not safe: The money may have left.")).to_be_visible()
    expect(card.get_by_role("link", name="Pay out again")).to_have_count(0)
