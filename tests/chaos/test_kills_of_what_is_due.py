"""kill -9 of API processes during acceptances and short holds: every one of them is carried out, exactly once.

Every run does a short round. `TALLYSTICK_KILLS=30` makes thirty kills.
"""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx2
import psutil
import pytest

from domain.journal.database import Database
from domain.model.accounts import Account
from domain.model.idempotency import operation_id
from domain.model.transactions import Transaction
from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.chaos.load import ACCOUNTS, KILLS, Answer, Load, an_api_process
from tests.ledgers import folded, history
from tests.projecting import eventually
from tests.service import post_account, post_ledger, serving

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]

PATH = "/v1/ledgers/main/transactions"
OUTCOMES = {"transaction.posted", "transaction.held", "transaction.rejected"}


class Deferred(Load):
    """Clients that request transfers and short holds, half of them to be carried out later."""

    # 422: the hold's time was over before any attempt was recorded.
    statuses = (201, 202, 409, 422)

    def asked(self, chance: random.Random) -> tuple[dict[str, Any], dict[str, str]]:
        """The body and headers of a request."""
        body, headers = super().asked(chance)
        if chance.random() < 0.5:
            expires_at = datetime.now(UTC) + timedelta(seconds=chance.uniform(0.1, 2.0))
            body |= {"pending": True, "expires_at": expires_at.isoformat()}
        if chance.random() < 0.5:
            headers = {"Prefer": "respond-async"}
        return body, headers


def test_what_was_accepted_is_carried_out_and_what_expired_is_released_once(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--workers", "2") as service:
        with service.client() as client:
            post_ledger(client)
            for address in ACCOUNTS:
                post_account(client, address, min_balance=0 if address == "limited" else None)
        with Deferred(service) as load:
            for _ in range(KILLS):
                _await_answers(load, 40)
                eventually(lambda: _kill(an_api_process(service)))
            _await_answers(load, 40)
        assert not load.faults
        assert {answer.status for answer in load.answers} >= {201, 202, 409}
        with service.client() as client:
            _await_outcomes(client, load.answers)
            for answer in load.answers:
                _stands(client, answer)
        _the_journal_explains(Database(EmbeddedPostgres(tmp_path / "data").url), load.answers)
        assert service.stop() == 0


def _await_answers(load: Load, count: int) -> None:
    give_up_at = monotonic() + 60
    wanted = len(load.answers) + count
    while len(load.answers) < wanted:
        assert monotonic() < give_up_at, load.faults
        sleep(0.01)


def _kill(process: psutil.Process | None) -> bool:
    if process is None:
        return False
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def _shows(client: httpx2.Client, path: str, name: str) -> bool:
    return client.get(path).json()[name] is not None


def _shows_nothing_pending(client: httpx2.Client, path: str) -> bool:
    pending = client.get(path).json()["pending"]
    return bool(pending == {"debits": 0, "credits": 0})


def _await_outcomes(client: httpx2.Client, answers: list[Answer]) -> None:
    """Wait until no request is waiting and nothing is pending. All holds are short."""
    for answer in answers:
        if answer.status == 202:
            operation = f"/v1/ledgers/main/operations/{answer.key}"
            eventually(partial(_shows, client, operation, "completed_at"))
    for address in ACCOUNTS:
        account = f"/v1/ledgers/main/accounts/{address}"
        eventually(partial(_shows_nothing_pending, client, account))


def _stands(client: httpx2.Client, answer: Answer) -> None:
    """Assert that a client's answer still holds, and that an accepted request is answered as if carried out at once."""
    again = client.post(PATH, json=answer.body, headers={"Idempotency-Key": answer.key})
    if answer.status == 422:
        assert again.json()["errors"][0]["pointer"] == "/expires_at"
        assert again.headers.get("Idempotent-Replayed") is None
        return
    assert again.headers["Idempotent-Replayed"] == "true"
    if answer.status == 202:
        assert again.status_code in (201, 409)
    else:
        assert (again.status_code, again.json()) == (answer.status, answer.answer)


def _the_journal_explains(database: Database, answers: list[Answer]) -> None:
    """Assert one outcome for each answered request, one end for each hold, and amounts that are their sums."""
    events = history(database)
    states = folded(events)
    recorded = Counter(
        (event.stream, event.event.TOPIC) for event in events if "/transactions/" in event.stream
    )
    assert set(recorded.values()) == {1}
    outcomes = Counter(stream for stream, topic in recorded.elements() if topic in OUTCOMES)
    asked = {f"main/transactions/{operation_id('main', of.key)}" for of in answers if of.status != 422}
    assert set(outcomes) == asked
    assert set(outcomes.values()) == {1}
    balances = Counter(dict.fromkeys(ACCOUNTS, 0))
    for stream in asked:
        transaction = states[stream]
        assert isinstance(transaction, Transaction)
        assert transaction.status in ("posted", "rejected", "expired")
        if transaction.status == "posted":
            for entry in transaction.entries:
                balances[entry.account] += entry.amount if entry.direction == "credit" else -entry.amount
    for address in ACCOUNTS:
        account = states[f"main/accounts/{address}"]
        assert isinstance(account, Account)
        assert (account.balance, account.pending_debits, account.pending_credits) == (balances[address], 0, 0)
