"""The queue of deliveries under any order of owed events, ended attempts, crashes and operators' decisions.

The first unfinished delivery of each key is always due, under way, or given up, which an operator sees. The deliveries
behind it wait, unless an operator requested one.
"""

import random
from functools import partial
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg import Connection

from domain.journal.database import Database
from projections.engine.batches import read_batch
from projections.outbox.deliveries import discard_delivery, retry_delivery
from projections.outbox.queue import MAX_UNDER_WAY_OF_ONE, DueDelivery, Ended, take_over, take_turn
from projections.outbox.schedule import AttemptAnswer
from projections.outbox.webhooks import delete_webhook, disable_webhook, enable_webhook
from projections.read_models.outbox import PROJECTION
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.outboxes import deliveries, register
from tests.properties.profiles import on_a_database

pytestmark = [pytest.mark.integration, pytest.mark.timeout(7200)]  # the nightly profile takes long

TRANSFERS = 15
NEVER_SECONDS = 1e9

FIRST_OF_EACH_KEY = """
SELECT DISTINCT ON (webhook_id, partition_key) position, state, due_at IS NOT NULL FROM deliveries
WHERE state IN ('pending', 'sent', 'failed') ORDER BY webhook_id, partition_key, position
"""
FORGET = "TRUNCATE webhooks, webhook_secrets, deliveries, delivery_attempts, outbox_suppressions, outbox_v1"

positions = st.integers(1, 3 * TRANSFERS)
answers = st.lists(st.sampled_from(["acknowledged", "again", "given up", "in doubt", "later"]), max_size=16)


@pytest.fixture
def journal(database: Database) -> Database:
    """A journal of some transfers among three accounts, without any projection."""
    with running(database) as ledger:
        open_accounts(ledger, "a", "b", "c")
        chance = random.Random(1)
        pairs = [chance.sample("abc", 2) for _ in range(TRANSFERS)]
        outcomes(ledger.execute(*(transfer(debited, credited, 1) for debited, credited in pairs)).result())
    return database


class Queue(RuleBasedStateMachine):
    """One publisher's work, step by step, and whatever else happens to deliveries."""

    def __init__(self, connection: Connection[Any], owner: Connection[Any]) -> None:
        super().__init__()
        self.connection = connection
        self.under_way: list[DueDelivery] = []
        self.position = 0
        owner.execute(FORGET)
        self.hooks = [register(connection, "http://127.0.0.1:9/") for _ in range(2)]
        # As if they had been registered before anything was recorded.
        owner.execute("UPDATE webhooks SET after = 0")
        self.head: int = (owner.execute("SELECT position FROM head").fetchone() or (0,))[0]

    @precondition(lambda self: self.position < self.head)
    @rule(count=st.integers(1, 20))
    def owe(self, count: int) -> None:
        upto = min(self.head, self.position + count)
        self._project(self.position, upto)
        self.position = upto

    @precondition(lambda self: self.position > 0)
    @rule()
    def read_the_journal_again(self) -> None:
        before = self._states()
        self._project(0, self.position)
        assert self._states() == before

    @rule(answers=answers)
    def turn(self, answers: list[str]) -> None:
        ended = [_ended(due, answer) for due, answer in zip(self.under_way, answers, strict=False)]
        self.under_way = self.under_way[len(ended) :]
        busy = {hook.id: sum(due.webhook_id == hook.id for due in self.under_way) for hook in self.hooks}
        begun = take_turn(self.connection, ended, busy, NEVER_SECONDS)
        assert all(due.secrets for due in begun)
        self.under_way += begun
        for hook in self.hooks:
            assert sum(due.webhook_id == hook.id for due in self.under_way) <= MAX_UNDER_WAY_OF_ONE

    @rule()
    def crash(self) -> None:
        self.under_way = []
        take_over(self.connection)

    @rule(which=st.integers(0, 1), position=positions, retried=st.booleans())
    def decide(self, which: int, position: int, retried: bool) -> None:
        hook = self.hooks[which]
        if retried:
            retry_delivery(self.connection, hook.id, position)
        else:
            discard_delivery(self.connection, hook.id, position, "why not")

    @rule(which=st.integers(0, 1), enabled=st.booleans())
    def switch(self, which: int, enabled: bool) -> None:
        if enabled:
            enable_webhook(self.connection, self.hooks[which].id)
        else:
            disable_webhook(self.connection, self.hooks[which].id, "why not")

    @rule()
    def delete(self) -> None:
        """Delete the second webhook. The first must receive everything in the end."""
        delete_webhook(self.connection, self.hooks[1].id, "tester")

    @invariant()
    def no_key_is_stuck(self) -> None:
        for position, state, is_due in self.connection.execute(FIRST_OF_EACH_KEY):
            assert is_due == (state == "pending"), (position, state, is_due)

    @invariant()
    def each_attempt_under_way_is_on_record(self) -> None:
        rows = self.connection.execute(
            "SELECT webhook_id, position, number FROM delivery_attempts WHERE outcome = 'sent'"
        )
        assert sorted(rows) == sorted((due.webhook_id, due.position, due.number) for due in self.under_way)

    def teardown(self) -> None:
        """Once receivers are well and operators have decided, every delivery is finished."""
        while self.position < self.head:
            self.owe(20)
        self.crash()
        first, _ = self.hooks
        enable_webhook(self.connection, first.id)
        for delivery in deliveries(self.connection, first.id):
            if delivery.state == "failed" or delivery.next_attempt_at:
                retry_delivery(self.connection, first.id, delivery.position)
        for _ in range(2 * self.head):
            self.turn(["acknowledged"] * MAX_UNDER_WAY_OF_ONE)
        found = deliveries(self.connection, first.id)
        assert len(found) == self.head
        assert {of.state for of in found} <= {"acknowledged", "suppressed"}
        assert all(attempt.ended_at for of in found for attempt in of.attempts)

    def _project(self, after: int, upto: int) -> None:
        batch = read_batch(self.connection, PROJECTION, after, upto)
        with self.connection.transaction():
            PROJECTION.project(self.connection, PROJECTION.queries(1), batch.events)

    def _states(self) -> list[Any]:
        query = "SELECT webhook_id, position, state, due_at, attempts FROM deliveries ORDER BY 1, 2"
        return self.connection.execute(query).fetchall()


def _ended(due: DueDelivery, answer: str) -> Ended:
    match answer:
        case "acknowledged":
            return Ended(due, AttemptAnswer(204), None)
        case "given up":
            return Ended(due, AttemptAnswer(400, "answered 400"), None)
        case "in doubt":
            return Ended(due, AttemptAnswer(None, "no answer", is_in_doubt=True), 0.0)
        case "later":
            return Ended(due, AttemptAnswer(500, "answered 500"), 3600.0)
    return Ended(due, AttemptAnswer(500, "answered 500"), 0.0)


def test_no_delivery_is_lost_and_no_key_gets_stuck(journal: Database, owner: Connection[Any]) -> None:
    with journal.connect("test queue") as connection:
        machine = partial(Queue, connection, owner)
        run_state_machine_as_test(machine, settings=on_a_database())  # type: ignore[arg-type]  # any factory does
