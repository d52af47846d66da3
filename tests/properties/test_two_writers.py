"""Two processes write one journal, whatever they are asked: read in order, it explains every answer they gave."""

from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg.sql import SQL, Identifier

from domain import group_commit
from domain.accounts import AccountOpened, ChangeAccount, OpenAccount
from domain.addresses import name_of
from domain.aggregates import evolve
from domain.commands import Command, Decision, Outcome
from domain.entries import Entry
from domain.errors import LedgerError
from domain.events import Context, Recorded, State
from domain.group_commit import Result
from domain.journal import snapshots
from domain.journal.database import Database
from domain.journal.migrations import migrate
from domain.journal.snapshots import decode_snapshot
from domain.ledger import Ledger
from domain.ledgers import OpenLedger
from domain.operations import Operation, operation_id
from domain.postings import PostTransaction
from domain.times import Instant
from domain.transactions import Description
from tests.ledgers import history
from tests.properties import generated_commands as generated
from tests.properties.book_model import Leg
from tests.properties.profiles import on_a_database

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]  # the nightly profile takes its time

NEVER: Instant = "2000-01-01T00:00:00.000000Z"

writers = st.integers(0, 1)
keys = st.integers(0, 300).map("key-{}".format)
transfers = st.tuples(st.just("post"), keys, generated.transfers(generated.small_amounts))
anything = st.tuples(st.just("post"), keys, generated.legs)
openings = st.tuples(st.just("open"), generated.addresses, generated.openings())
changes = st.tuples(
    st.just("change"),
    generated.addresses,
    st.fixed_dictionaries({}, optional={"min_balance": generated.limits, "max_balance": generated.limits}),
)
requests = transfers | transfers | transfers | anything | openings | changes

Request = tuple[str, str, Any]


class TwoWriters(RuleBasedStateMachine):
    """Asks two ledgers on one schema, each as one process of the service would have it."""

    def __init__(self, postgres_url: str) -> None:
        super().__init__()
        self.database = Database(postgres_url, f"test_{uuid4().hex[:12]}")
        migrate(self.database)
        self.ledgers = [Ledger(self.database), Ledger(self.database)]
        for ledger in self.ledgers:
            ledger.start()
        self.asked: list[Command] = []
        self.answers: list[tuple[Command, Result]] = []

    def command(self, request: Request) -> Command:
        """The command of a request, in a conversation of its own, by which its events can be told."""
        kind, name, content = request
        context = Context("someone", f"conversation-{len(self.asked)}")
        command: Command
        if kind == "post":
            command = self.posting(context, name, content)
        elif kind == "open":
            fields = ("asset", "normal_side", "min_balance", "max_balance", "metadata")
            opening = AccountOpened.model_validate(dict(zip(fields, content, strict=True)))
            command = OpenAccount(context, "main", name, opening)
        else:
            command = ChangeAccount(context, "main", name, **content)
        self.asked.append(command)
        return command

    def posting(self, context: Context, key: str, legs: list[Leg]) -> PostTransaction:
        entries = tuple(
            Entry.model_validate({"account": address, "direction": direction, "amount": amount})
            for address, direction, amount in legs
        )
        operation = Operation(key, operation_id("main", key), repr(legs))
        return PostTransaction(context, "main", operation, Description(), entries)

    def ask(self, *batches: tuple[int, list[Command]]) -> None:
        """Ask all at once and wait for every answer."""
        pending = [(commands, self.ledgers[writer].execute(*commands)) for writer, commands in batches]
        for commands, future in pending:
            self.answers += zip(commands, future.result(timeout=60), strict=True)

    @initialize(limits=st.lists(generated.limits, min_size=4, max_size=4), writer=writers)
    def begin(self, limits: list[int | None], writer: int) -> None:
        opening = OpenLedger(Context("someone", "conversation-0"), "main", {})
        self.asked.append(opening)
        requests: list[Request] = [
            ("open", address, ("USD/2", "credit", limit, None, {}))
            for address, limit in zip(generated.ADDRESSES, limits, strict=True)
        ]
        self.ask((writer, [opening, *map(self.command, requests)]))

    @rule(writer=writers, request=requests)
    def one(self, writer: int, request: Request) -> None:
        self.ask((writer, [self.command(request)]))

    @rule(
        batches=st.lists(
            st.tuples(writers, st.lists(requests, min_size=1, max_size=12)), min_size=2, max_size=9
        )
    )
    def many_at_once(self, batches: list[tuple[int, list[Request]]]) -> None:
        self.ask(*((writer, list(map(self.command, requests))) for writer, requests in batches))

    @rule(legs=generated.transfers(generated.amounts), key=keys)
    def one_request_of_both_at_once(self, legs: list[Leg], key: str) -> None:
        self.ask(*((writer, [self.command(("post", key, legs))]) for writer in (0, 1, 0)))

    @precondition(lambda self: self.answers)
    @rule(writer=writers, which=st.integers(0, 10_000))
    def one_again(self, writer: int, which: int) -> None:
        command, _ = self.answers[which % len(self.answers)]
        context = Context("someone", f"conversation-{len(self.asked)}")
        again = replace(command, context=context)  # type: ignore[type-var]
        self.asked.append(again)
        self.ask((writer, [again]))

    def teardown(self) -> None:
        try:
            if self.answers:
                self.ask_for_what_both_know()
        finally:
            for ledger in self.ledgers:
                ledger.close()
        try:
            self.the_journal_explains_every_answer()
        finally:
            self.drop_schema()

    def drop_schema(self) -> None:
        with psycopg.connect(self.database.url, autocommit=True) as connection:
            connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(self.database.schema)))

    def ask_for_what_both_know(self) -> None:
        """Changes that change nothing are answered from each writer's cache; reads from the journal."""
        for address in generated.ADDRESSES:
            for writer, ledger in enumerate(self.ledgers):
                self.ask((writer, [self.command(("change", address, {}))]))
                _, answer = self.answers[-1]
                if isinstance(answer, Outcome):
                    assert ledger.account("main", address) == (answer.state, answer.position)

    def the_journal_explains_every_answer(self) -> None:
        events = history(self.database)
        states_at = refolded(events)
        self.every_snapshot_is_a_state_of_its_stream(states_at)
        of_conversation: dict[str, list[Recorded]] = defaultdict(list)
        for recorded in events:
            of_conversation[recorded.envelope.correlation_id].append(recorded)
        for command, answer in self.answers:
            own = of_conversation.pop(command.context.correlation_id, [])
            if isinstance(answer, Outcome):
                explain_outcome(command, answer, own, states_at)
            else:
                explain_refusal(command, answer, own, states_at)
        assert not of_conversation, "events that nobody asked for"

    def every_snapshot_is_a_state_of_its_stream(self, states_at: list[dict[str, State]]) -> None:
        with self.database.connect("test reader") as connection:
            kept = connection.execute(
                "SELECT originator_id, originator_version, state FROM snapshots"
            ).fetchall()
        for stream, version, state in kept:
            snapshot = decode_snapshot(state)
            assert (snapshot.address, snapshot.version) == (name_of(stream), version)
            assert snapshot == states_at[snapshot.position][stream]


def refolded(events: list[Recorded]) -> list[dict[str, State]]:
    """The state of every stream at every position, from 0 on; neither positions nor versions have gaps."""
    states_at: list[dict[str, State]] = [{}]
    for position, recorded in enumerate(events, start=1):
        known = states_at[-1].get(recorded.stream)
        assert (recorded.position, recorded.version) == (position, (known.version if known else 0) + 1)
        states_at.append({**states_at[-1], recorded.stream: evolve(known, recorded)})
    return states_at


def redecided(command: Command, states: dict[str, State], now: Instant = NEVER) -> Decision:
    return command.decide(states.get, now)


def explain_outcome(
    command: Command, outcome: Outcome, own: list[Recorded], states_at: list[dict[str, State]]
) -> None:
    """What was recorded follows from what was before it; what was answered is what the journal then says."""
    assert outcome.recorded == bool(own)
    if own:
        first, last = own[0].position, own[-1].position
        assert [recorded.position for recorded in own] == list(range(first, last + 1))
        assert outcome.position == last
        decision = redecided(command, states_at[first - 1], own[0].envelope.recorded_at)
        assert list(decision.events) == [(recorded.stream, recorded.event) for recorded in own]
    else:
        decision = redecided(command, states_at[outcome.position])
        assert not decision.events
    assert (decision.first_answer is not None) == outcome.replayed
    assert outcome.state == states_at[outcome.position][decision.stream]


def explain_refusal(
    command: Command, answer: Exception, own: list[Recorded], states_at: list[dict[str, State]]
) -> None:
    """What was refused left nothing behind, and is refused again at the position that the refusal names."""
    assert isinstance(answer, LedgerError), answer
    assert not own and answer.position is not None
    with pytest.raises(type(answer)):
        redecided(command, states_at[answer.position])


def test_the_journal_explains_every_answer(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Small, so that short histories meet what otherwise only long ones do.
    monkeypatch.setattr(group_commit, "MAX_BATCH_COMMANDS", 4)
    monkeypatch.setattr(group_commit, "MIN_COMMANDS_AHEAD", 2)
    monkeypatch.setattr(group_commit, "BATCHES_NOT_AHEAD_AFTER_A_MISS", 1)
    monkeypatch.setattr(group_commit, "MAX_CATCH_UP_EVENTS", 4)
    monkeypatch.setattr(group_commit, "MAX_CACHED_AGGREGATES", 4)
    monkeypatch.setattr(snapshots, "SNAPSHOT_EVERY", 2)
    machine = partial(TwoWriters, postgres_url)
    run_state_machine_as_test(machine, settings=on_a_database())  # type: ignore[arg-type]  # any factory does
