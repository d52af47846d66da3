"""Poison events on a real journal: they hold only their own stream, and the letter says why."""

import threading
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from domain.journal.database import Database
from domain.model.streams import account_stream
from domain.release import RELEASE
from projections.engine.batches import ATTEMPTS
from projections.engine.dead_letters import MAX_HELD_STREAMS, DeadLetter, list_letters
from projections.read_models import entries
from projections.read_models.entries import list_entries
from projections.registry import PROJECTIONS
from projections.running.controls import pause, resume
from projections.running.dead_letter_decisions import retry
from projections.running.positions import progress
from tests.integration.dead_letters.letters import BY, TWO, UNREADABLE, A, change, sole_letter, versions
from tests.integration.projector.folding import assert_equal_to_fold
from tests.ledgers import open_accounts, running, transfer
from tests.poisoning import poisoned
from tests.projecting import append, await_head, await_progress, projecting

pytestmark = pytest.mark.integration


def test_a_poison_event_leaves_every_other_stream_current_and_says_why(
    database: Database, owner: Connection[Any]
) -> None:
    with projecting(database, TWO), running(database) as ledger:
        open_accounts(ledger, "a", "b", "c")
        before = await_head(owner, "balances", "entries")
        # Written past the ledger, so that the ledger continues the account at the version before.
        position = append(owner, "main/accounts/a", 2, "account.limits_changed", UNREADABLE)
        ledger.perform(transfer("b", "c", 5))
        head = await_head(owner, "balances", "entries")
        assert versions(owner) == {"a": 1, "b": 2, "c": 2}
        letter = sole_letter(owner)
        seen = progress(owner, "balances")
        assert (seen.state, seen.position, seen.last_error) == ("running", head, None)
        assert (seen.dead_letters, seen.oldest_dead_letter) == (1, position)
        assert 0 < seen.dead_letter_age_seconds < 600
        assert progress(owner, "entries").dead_letters == 0
    assert position == before + 1
    assert letter == letter._replace(
        projection="balances",
        projection_version=1,
        shape=PROJECTIONS["balances"].shape,
        state="open",
        stream=A,
        stream_version=2,
        position=position,
        topic="account.limits_changed",
        event_version=1,
        correlation_id="c-7",
        actor="shop",
        exception="UnreadableEvent",
        release=RELEASE,
        attempts=1,
        held_events=0,
        closing=None,
    )
    assert f"event {position} of topic account.limits_changed cannot be decoded, from " in letter.message
    assert letter.first_failed_at == letter.last_failed_at


@pytest.mark.parametrize("state", [b"\x00\xff", b"", b"[]", b'"x"', b'{"class_version":"x","actor":7}'])
def test_of_an_event_that_makes_no_sense_the_letter_tells_what_it_can(
    database: Database, owner: Connection[Any], state: bytes
) -> None:
    with projecting(database), running(database) as ledger:
        open_accounts(ledger, "a")
        position = append(owner, "main/transactions/x", 1, "transaction.posted", state)
        await_head(owner)
    letter = sole_letter(owner, projection="entries")
    assert (letter.position, letter.event_version, letter.correlation_id) == (position, None, None)
    assert letter.exception == "UnreadableEvent"


def test_an_amount_beyond_all_that_can_be_kept_is_poison(database: Database, owner: Connection[Any]) -> None:
    with projecting(database, TWO), running(database) as ledger:
        open_accounts(ledger, "a", "b", "c")
        ledger.perform(transfer("a", "b", 5))
        posted = owner.execute(
            "SELECT state FROM events WHERE topic = 'account.entries_posted' AND originator_id = %s", (A,)
        ).fetchone()
        assert posted is not None
        state = bytes(posted[0]).replace(b'"debits":5', b'"debits":%d' % 2**63)
        position = append(owner, A, 3, "account.entries_posted", state)
        ledger.perform(transfer("b", "c", 5))
        await_head(owner, "balances", "entries")
        assert versions(owner) == {"a": 2, "b": 3, "c": 2}
    letter = sole_letter(owner)
    assert (letter.position, letter.exception) == (position, "ValueError")


def test_two_poison_events_in_one_stream(database: Database, owner: Connection[Any]) -> None:
    with poisoned("balances") as failing, running(database) as ledger:
        open_accounts(ledger, "a", "b")
        first = change(ledger, "a", "one")
        change(ledger, "a", "two")
        second = change(ledger, "a", "three")
        change(ledger, "a", "four")
        failing.positions |= {first, second}
        with projecting(database, tuple(PROJECTIONS.values())):
            await_head(owner)
            letter = sole_letter(owner)
            assert (letter.position, letter.held_events) == (first, 3)
            failing.positions.remove(first)
            resolved = retry(owner, letter.id, BY)
            assert resolved.closing is not None
            assert resolved.state == "resolved"
            following = sole_letter(owner, state="open")
            assert following.id == resolved.closing.followed_by
            assert (following.position, following.held_events, following.attempts) == (second, 1, 1)
            assert versions(owner)["a"] == 3
            failing.positions.clear()
            assert retry(owner, following.id, BY).state == "resolved"
            assert_equal_to_fold(database, owner)


def test_beyond_the_threshold_the_projection_halts_before_the_event_and_says_why(
    database: Database, owner: Connection[Any]
) -> None:
    addresses = [f"u{number:03}" for number in range(MAX_HELD_STREAMS + 5)]
    with poisoned("balances") as failing, running(database) as ledger:
        open_accounts(ledger, "a", *addresses)
        failing.streams |= {account_stream("main", address) for address in addresses}
        with projecting(database, tuple(PROJECTIONS.values())):
            ledger.perform(transfer("a", "u000", 5))
            seen = await_progress(owner, "balances", lambda seen: seen.state == "halted")
            letters = list_letters(owner)
            assert len(letters) == seen.dead_letters == MAX_HELD_STREAMS
            assert seen.position >= letters[-1].position
            assert seen.last_error is not None
            assert f"event {seen.position + 1} of main/accounts/u100" in seen.last_error
            assert "100 streams are held" in seen.last_error
            await_head(owner, "entries")
            # It may be retried while halted. That makes room, and the projection can then resume.
            failing.streams.clear()
            for letter in letters:
                assert retry(owner, letter.id, BY).state == "resolved"
            assert progress(owner, "balances").state == "halted"
            assert resume(owner, "balances", BY).last_error is None
            await_head(owner)
            assert_equal_to_fold(database, owner)


def test_a_database_that_refuses_for_a_while_makes_no_dead_letter(
    database: Database, owner: Connection[Any]
) -> None:
    mended = threading.Event()

    def project(connection: Connection[Any], queries: Any, events: Sequence[Any]) -> None:
        entries.project(connection, queries, events)
        if not mended.is_set():
            raise psycopg.errors.DiskFull("could not extend file")

    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        ledger.perform(transfer("a", "b", 5))
        with projecting(database, [entries.PROJECTION._replace(project=project)]):
            seen = await_progress(owner, "entries", lambda seen: seen.last_error is not None)
            assert (seen.state, seen.last_error) == ("running", "DiskFull: could not extend file")
            mended.set()
            await_head(owner, "entries")
    assert list_letters(owner) == []
    assert len(list_entries(owner, "main", "a", limit=9).rows) == 1


def test_what_passes_at_a_later_attempt_makes_no_dead_letter(
    database: Database, owner: Connection[Any]
) -> None:
    failures = iter(range(ATTEMPTS - 1))

    def project(connection: Connection[Any], queries: Any, events: Sequence[Any]) -> None:
        entries.project(connection, queries, events)
        if next(failures, None) is not None:
            raise psycopg.errors.UniqueViolation("for a moment")

    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        ledger.perform(transfer("a", "b", 5))
        with projecting(database, [entries.PROJECTION._replace(project=project)]):
            await_head(owner, "entries")
    assert list_letters(owner) == []
    assert len(list_entries(owner, "main", "a", limit=9).rows) == 1


def test_what_is_paused_and_resumed_is_recorded_once_with_who_and_why(
    database: Database, owner: Connection[Any]
) -> None:
    with running(database) as ledger, projecting(database):
        open_accounts(ledger, "a", "b")
        head = await_head(owner)
        for _ in range(2):
            assert pause(owner, "entries", BY, "upgrade").state == "paused"
        ledger.perform(transfer("a", "b", 5))
        await_head(owner, "balances")
        assert progress(owner, "entries").position == head
        for _ in range(2):
            assert resume(owner, "entries", BY).state == "running"
        await_head(owner)
    rows = owner.execute(
        "SELECT name, version, position, former_state, state, actor, reason, correlation_id"
        " FROM projection_controls ORDER BY id"
    ).fetchall()
    assert rows == [
        ("entries", 1, head, "running", "paused", "oncall", "upgrade", "conversation-9"),
        ("entries", 1, head, "paused", "running", "oncall", "", "conversation-9"),
    ]


def test_letters_are_listed_page_by_page_and_filtered(database: Database, owner: Connection[Any]) -> None:
    names = ("entries", "transactions")
    with projecting(database, [PROJECTIONS[name] for name in names]), running(database) as ledger:
        open_accounts(ledger, "a")
        for number in range(3):
            append(owner, f"main/transactions/x{number}", 1, "transaction.posted", UNREADABLE)
        await_head(owner, *names)
    everything = list_letters(owner)
    assert len(everything) == 6
    for descending in (False, True):
        seen: list[DeadLetter] = []
        while page := list_letters(
            owner,
            after=(seen[-1].first_failed_at, seen[-1].id) if seen else None,
            limit=2,
            descending=descending,
        ):
            seen += page
        assert seen == (everything[::-1] if descending else everything)
    of_entries = [letter for letter in everything if letter.projection == "entries"]
    assert list_letters(owner, projection="entries", state="open") == of_entries
    assert list_letters(owner, projection="entries", state="discarded") == []
