"""Two processes write one journal: read in order, it explains every answer they gave."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from domain.application import LedgerApplication
from domain.commit import decider, loading, locked_commit, pipeline, queue
from domain.commit.decider import Result, is_refused
from domain.journal import snapshots
from domain.journal.snapshots import decode_snapshot
from domain.model.commands import Command, Outcome, envelope_of
from domain.model.errors import BatchRejected, LedgerError
from domain.model.events import Context, Recorded, State
from domain.model.postings import AcceptTransaction
from domain.model.registry import evolve
from domain.model.streams import name_of
from domain.model.times import Instant
from domain.model.transactions import TransactionAccepted
from tests.databases import Databases
from tests.ledgers import history
from tests.properties import generated_requests as generated
from tests.properties import invariants
from tests.properties.generated_requests import ADDRESSES, BOOKS, LATE, Asked
from tests.properties.profiles import on_a_database
from tests.properties.requests import Acceptances, Change, OpenBook, Request, at, command_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(7200)]  # the nightly profile takes long

writers = st.integers(0, 1)
# How requests are sent: alone or together, as all-or-none, or as a dry run.
ways = st.sampled_from([(False, False)] * 4 + [(True, False)] * 2 + [(False, True), (True, True)])
CLOCK_BEHIND = 7
"""By how many microseconds the second writer's clock is slow."""

States = Mapping[str, State]


class Submitted(NamedTuple):
    """One submission to a writer, and the writer's clock at that time."""

    commands: list[Command]
    all_or_none: bool
    dry_run: bool
    clock: Instant


Batch = tuple[int, list[Request], bool, bool]
"""A writer, its requests, whether all or none, whether as a dry run."""


class TwoWriters(RuleBasedStateMachine):
    """Two ledgers on one database, each as in a separate process of the service."""

    def __init__(self, databases: Databases) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.database = self._stack.enter_context(databases.migrated())
        self.now = CLOCK_BEHIND
        self.ledgers = [LedgerApplication(self.database, clock) for clock in self.clocks()]
        for ledger in self.ledgers:
            ledger.start()
        self.asked = Asked()
        self.acceptances = Acceptances()
        self.conversations = 0
        self.answers: list[tuple[Submitted, Sequence[Result]]] = []

    def clocks(self) -> tuple[Callable[[], Instant], Callable[[], Instant]]:
        return lambda: at(self.now), lambda: at(self.now - CLOCK_BEHIND)

    def command(self, request: Request) -> Command:
        """The command of a request, in its own conversation, which identifies its events."""
        self.conversations += 1
        context = Context("someone", f"conversation-{self.conversations}")
        return command_of(request, context, self.acceptances)

    def ask(self, *batches: Batch) -> None:
        """Submit everything at once and wait for every answer."""
        self.now += 1
        pending = []
        for writer, drawn, all_or_none, dry_run in batches:
            requests = self.acceptances.possible(drawn)
            commands = [self.command(request) for request in requests]
            submitted = Submitted(commands, all_or_none, dry_run, self.clocks()[writer]())
            ledger = self.ledgers[writer]
            pending.append((submitted, ledger.execute(*commands, all_or_none=all_or_none, dry_run=dry_run)))
        for submitted, future in pending:
            results = future.result(timeout=60)
            self.answers.append((submitted, results))
            if not submitted.dry_run:
                for result in results:
                    self.acceptances.note(result)

    def several(self, data: st.DataObject, most: int) -> list[Request]:
        return [self.asked.draw(data.draw, self.now) for _ in range(data.draw(st.integers(1, most)))]

    @initialize(data=st.data(), writer=writers)
    def begin(self, data: st.DataObject, writer: int) -> None:
        requests: list[Request] = [OpenBook(book, {}) for book in BOOKS]
        requests += [
            data.draw(generated.first_openings(book, address)) for book in BOOKS for address in ADDRESSES
        ]
        self.ask((writer, requests, False, False))

    @rule(data=st.data(), writer=writers, way=ways)
    def one(self, data: st.DataObject, writer: int, way: tuple[bool, bool]) -> None:
        self.ask((writer, self.several(data, 1), *way))

    @rule(data=st.data(), asked=st.lists(st.tuples(writers, ways), min_size=2, max_size=8))
    def many_at_once(self, data: st.DataObject, asked: list[tuple[int, tuple[bool, bool]]]) -> None:
        self.ask(*((writer, self.several(data, 8), *way) for writer, way in asked))

    @rule(data=st.data(), way=ways)
    def the_same_of_both_at_once(self, data: st.DataObject, way: tuple[bool, bool]) -> None:
        requests = self.several(data, 3)
        self.ask(*((writer, requests, *way) for writer in (0, 1, 0)))

    @rule(wait=generated.waits)
    def time_passes(self, wait: int) -> None:
        self.now += wait

    def teardown(self) -> None:
        try:
            if self.answers:
                self.ask_for_what_both_know()
        finally:
            for ledger in self.ledgers:
                ledger.close()
        with self._stack:
            self.the_journal_explains_every_answer()

    def ask_for_what_both_know(self) -> None:
        """Changes that change nothing are answered from each writer's cache. Reads come from the journal."""
        for address in (*ADDRESSES, LATE):
            for writer, ledger in enumerate(self.ledgers):
                self.ask((writer, [Change("main", address, {})], False, False))
                (answer,) = self.answers[-1][1]
                if isinstance(answer, Outcome):
                    assert ledger.account("main", address) == (answer.state, answer.position)

    def the_journal_explains_every_answer(self) -> None:
        events = history(self.database)
        journal = Journal(events)
        self.every_snapshot_is_a_state_of_its_stream(journal)
        for submitted, results in self.answers:
            journal.explain(submitted, results)
        assert not journal.unexplained, "events that nobody asked for"
        invariants.check(events, journal.states_at[-1])

    def every_snapshot_is_a_state_of_its_stream(self, journal: "Journal") -> None:
        with self.database.connect("test reader") as connection:
            kept = connection.execute(
                "SELECT originator_id, originator_version, state FROM snapshots"
            ).fetchall()
        for stream, version, state in kept:
            snapshot = decode_snapshot(state)
            assert (snapshot.address, snapshot.version) == (name_of(stream), version)
            assert snapshot == journal.states_at[snapshot.position][stream]


class Journal:
    """The recorded events, and the state of every stream at every position, from 0 on."""

    def __init__(self, events: Sequence[Recorded]) -> None:
        self.recorded_at: list[Instant] = [""]
        self.states_at: list[States] = [{}]
        self.unexplained: dict[tuple[str, bool], list[Recorded]] = defaultdict(list)
        """Events by conversation and by whether they accept a request, which is completed in the same conversation."""
        for recorded in events:
            states = self.states_at[-1]
            self.states_at.append({**states, recorded.stream: evolve(states.get(recorded.stream), recorded)})
            self.recorded_at.append(recorded.envelope.recorded_at)
            accepts = isinstance(recorded.event, TransactionAccepted)
            self.unexplained[recorded.envelope.correlation_id, accepts].append(recorded)

    def explain(self, submitted: Submitted, results: Sequence[Result]) -> None:
        """Assert that the answers follow from the events before, and that their events were recorded."""
        if isinstance(results[0], BatchRejected):
            self.explain_rejection(submitted, results)
        elif submitted.dry_run:
            position = max(position_of(result) for result in results)
            self.explain_unrecorded(submitted, results, position)
        else:
            blocks = [
                self.explain_one(command, result, submitted.clock)
                for command, result in zip(submitted.commands, results, strict=True)
            ]
            own = [recorded.position for block in blocks for recorded in block]
            assert own == sorted(own)
            if submitted.all_or_none and own:
                assert own == list(range(own[0], own[-1] + 1))

    def explain_rejection(self, submitted: Submitted, results: Sequence[Result]) -> None:
        (rejected,) = set(results)
        assert submitted.all_or_none and isinstance(rejected, BatchRejected) and rejected.position is not None
        decided = submitted._replace(commands=submitted.commands[: rejected.index + 1])
        answers = self.explain_unrecorded(decided, [rejected.cause], rejected.position)
        assert [is_refused(answer) for answer in answers] == [False] * rejected.index + [True]

    def explain_unrecorded(
        self, submitted: Submitted, last_results: Sequence[Result], position: int
    ) -> list[Result]:
        """Decide an undone submission again at its position and compare the last results."""
        now = max(submitted.clock, self.recorded_at[position])
        answers = list(decided_in_order(submitted.commands, self.states_at[position], position, now))
        for result, answer in zip(last_results, answers[-len(last_results) :], strict=True):
            if isinstance(result, Outcome) and isinstance(answer, Outcome):
                assert (result.state, result.replayed) == (answer.state, answer.replayed)
                assert not result.recorded
                assert result.position == min(answer.position, position)
            else:
                assert type(result) is type(answer), (result, answer)
                assert position_of(result) == position
        return answers

    def explain_one(self, command: Command, result: Result, clock: Instant) -> Sequence[Recorded]:
        """Check the answer to a command that was alone or recorded with others. Return its events."""
        if isinstance(result, Outcome) and result.recorded:
            return self.explain_recorded(command, result, clock)
        position = position_of(result)
        now = max(clock, self.recorded_at[position])
        (answer,) = decided_in_order([command], self.states_at[position], position, now)
        if isinstance(result, Outcome):
            # A replay has the position of the first answer. All others have the position at which they were decided.
            assert result == answer
        else:
            assert isinstance(result, LedgerError), result
            assert type(result) is type(answer), (result, answer)
        return ()

    def explain_recorded(self, command: Command, outcome: Outcome, clock: Instant) -> Sequence[Recorded]:
        accepts = isinstance(command, AcceptTransaction)
        own = self.unexplained.pop((command.context.correlation_id, accepts))
        first, last = own[0].position, own[-1].position
        assert [recorded.position for recorded in own] == list(range(first, last + 1))
        now = max(clock, self.recorded_at[first - 1])
        assert {self.recorded_at[position] for position in range(first, last + 1)} == {now}
        decision = command.decide(self.states_at[first - 1].get, now)
        assert list(decision.events) == [(recorded.stream, recorded.event) for recorded in own]
        assert outcome == Outcome(self.states_at[last][decision.stream], True, False, last)
        return own


def position_of(result: Result) -> int:
    assert isinstance(result, Outcome | LedgerError), result
    assert result.position is not None
    return result.position


def decided_in_order(
    commands: Sequence[Command], states: States, position: int, now: Instant
) -> Iterator[Result]:
    """Decide commands in order, each on the states the ones before lead to. Nothing is recorded."""
    known = dict(states)
    for command in commands:
        try:
            decision = command.decide(known.get, now)
        except LedgerError as refusal:
            yield refusal
            continue
        if decision.first_answer is not None:
            yield Outcome(decision.first_answer, False, True, decision.first_answer.position)
            continue
        envelope = envelope_of(command, now)
        for stream, event in decision.events:
            position += 1
            before = known.get(stream)
            version = before.version + 1 if before else 1
            known[stream] = evolve(before, Recorded(stream, version, position, envelope, event))
        yield Outcome(known[decision.stream], bool(decision.events), False, position)


def test_the_journal_explains_every_answer(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    # Small, so that short histories meet limits that otherwise only long ones meet.
    monkeypatch.setattr(queue, "MAX_BATCH_COMMANDS", 4)
    monkeypatch.setattr(queue, "MIN_COMMANDS_MEANWHILE", 2)
    monkeypatch.setattr(pipeline, "BATCHES_NOT_AHEAD_AFTER_A_MISS", 1)
    monkeypatch.setattr(pipeline, "BATCHES_NOT_AHEAD_AFTER_A_REFUSAL", 1)
    monkeypatch.setattr(locked_commit, "BATCHES_LOOKED_UP_AFTER_A_REPETITION", 1)
    monkeypatch.setattr(locked_commit, "BATCHES_LOOKED_UP_AFTER_A_REFUSAL", 1)
    monkeypatch.setattr(queue, "MIN_COMMANDS_TO_LINGER_FOR", 2)
    monkeypatch.setattr(queue, "LINGER_SECONDS", 0.001)
    monkeypatch.setattr(loading, "MAX_CATCH_UP_EVENTS", 12)
    monkeypatch.setattr(decider, "MAX_CACHED_AGGREGATES", 8)
    monkeypatch.setattr(snapshots, "SNAPSHOT_EVERY", 2)
    machine = partial(TwoWriters, databases)
    run_state_machine_as_test(machine, settings=on_a_database())  # type: ignore[arg-type]  # any factory does
