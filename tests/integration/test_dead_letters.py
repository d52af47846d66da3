"""Poison events on a real journal: they hold only their own stream, and nothing of it is lost or applied twice."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import Connection

import projections
from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.model.accounts import ChangeAccount
from domain.model.errors import JournalUnavailable
from domain.model.events import Context
from domain.model.streams import account_stream
from domain.release import RELEASE
from projections.engine.batches import ATTEMPTS, Claim, advance, read_batch, take_over
from projections.engine.dead_letters import (
    MAX_HELD_STREAMS,
    DeadLetter,
    add_letter,
    find_letter,
    list_letters,
)
from projections.engine.projection import Projection
from projections.errors import DeadLetterClosed, DeadLetterNotFound, ProjectionBehind
from projections.read_models import entries
from projections.read_models.balances import list_accounts
from projections.read_models.entries import list_entries
from projections.rebuilding.part import fill as fill_versions
from projections.rebuilding.rebuilder import rebuild
from projections.rebuilding.requests import find_rebuild, request_rebuild
from projections.rebuilding.unread_versions import drop_retired
from projections.registry import PROJECTIONS
from projections.running.controls import pause, resume
from projections.running.dead_letter_decisions import discard, retry
from projections.running.positions import progress
from tests.integration.test_projector import assert_equal_to_fold, fill
from tests.ledgers import CONTEXT, open_accounts, outcomes, running, transfer
from tests.poisoning import poisoned
from tests.projecting import append, await_head, await_progress, eventually, projecting, set_state

pytestmark = pytest.mark.integration

BY = Context("oncall", "conversation-9")
A, B = account_stream("main", "a"), account_stream("main", "b")
TWO = [PROJECTIONS["balances"], PROJECTIONS["entries"]]
UNREADABLE = b'{"class_version":1,"correlation_id":"c-7","actor":"shop","data":{"odd":true}}'


def sole_letter(connection: Connection[Any], **filters: Any) -> DeadLetter:
    (letter,) = list_letters(connection, **filters)
    return letter


def versions(connection: Connection[Any]) -> dict[str, int]:
    return {account.address: account.version for account in list_accounts(connection, "main", limit=99).rows}


def change(ledger: LedgerApplication, address: str, mark: str) -> int:
    return ledger.perform(ChangeAccount(CONTEXT, "main", address, metadata={"mark": mark})).position


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


@pytest.mark.parametrize("version", [1, 2])
def test_after_the_fix_a_retry_applies_the_event_and_all_that_is_held_in_order(
    database: Database, owner: Connection[Any], version: int
) -> None:
    with poisoned("balances") as failing, running(database) as ledger:
        open_accounts(ledger, "a", "b")
        with projecting(database, tuple(PROJECTIONS.values())):
            if version == 2:
                await_head(owner)
            failing.streams.add(A)
            ledger.perform(transfer("a", "b", 5))
            change(ledger, "a", "one")
            change(ledger, "b", "other")
            await_head(owner)
            letter = sole_letter(owner)
            assert (letter.stream, letter.stream_version, letter.attempts) == (A, version, ATTEMPTS)
            assert letter.message == f"ValueError: poison at {letter.position}"
            assert letter.held_events == 3 - version
            assert versions(owner) == ({"b": 3} if version == 1 else {"a": 1, "b": 3})
            failing.streams.clear()
            resolved = retry(owner, letter.id, BY, "mended")
            assert_equal_to_fold(database, owner)
            change(ledger, "a", "two")
            await_head(owner)
            assert_equal_to_fold(database, owner)
    assert resolved.state == "resolved"
    assert resolved.closing is not None
    assert resolved.closing[1:] == ("oncall", "mended", "conversation-9", None)
    assert resolved.held_events == 0
    assert progress(owner, "balances").dead_letters == 0
    assert retry(owner, letter.id, Context("other", "x")) == resolved  # idempotent
    with pytest.raises(DeadLetterClosed):
        discard(owner, letter.id, BY, "too late")
    assert_equal_to_fold(database, owner)


def test_what_fails_again_stays_with_its_new_reason(database: Database, owner: Connection[Any]) -> None:
    with poisoned("balances") as failing, running(database) as ledger:
        open_accounts(ledger, "a", "b")
        failing.streams.add(A)
        with projecting(database, tuple(PROJECTIONS.values())):
            ledger.perform(transfer("a", "b", 5))
            await_head(owner)
        letter = sole_letter(owner)
        for attempts in (ATTEMPTS + 1, ATTEMPTS + 2):
            again = retry(owner, letter.id, BY)
            assert (again.state, again.attempts) == ("open", attempts)
            assert again.last_failed_at > letter.last_failed_at == letter.first_failed_at
        assert versions(owner) == {"b": 2}
    owner.execute("INSERT INTO balances_v1 SELECT 'main', 'a', 'USD/2', 'credit', 'open', NULL, NULL, '{}',"
                  " 0, 0, 0, 0, now(), '{}', 1, 1")  # fmt: skip
    again = retry(owner, letter.id, BY)
    assert (again.state, again.exception) == ("open", "UniqueViolation")
    assert sole_letter(owner) == again


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


def test_what_is_discarded_is_left_out_for_good_and_the_rest_applied(
    database: Database, owner: Connection[Any]
) -> None:
    with poisoned("balances") as failing, running(database) as ledger:
        open_accounts(ledger, "a", "b")
        position = change(ledger, "a", "never seen")
        failing.positions.add(position)
        ledger.perform(ChangeAccount(CONTEXT, "main", "a", max_balance=77))
        ledger.perform(transfer("a", "b", 5))
        with projecting(database, tuple(PROJECTIONS.values())):
            await_head(owner)
            letter = sole_letter(owner)
            assert versions(owner) == {"a": 1, "b": 2}
            discarded = discard(owner, letter.id, BY, "a test program wrote it")
            assert (discarded.state, discarded.position) == ("discarded", position)
            assert discarded.closing is not None
            assert discarded.closing[1:] == ("oncall", "a test program wrote it", "conversation-9", None)
            (a, _) = list_accounts(owner, "main", limit=9).rows
            assert (a.version, a.max_balance, a.metadata, a.balance) == (4, 77, {}, -5)
            ledger.perform(transfer("a", "b", 5))
            await_head(owner)
            (a, _) = list_accounts(owner, "main", limit=9).rows
            assert (a.version, a.balance) == (5, -10)
    assert discard(owner, letter.id, BY, "again") == discarded
    with pytest.raises(DeadLetterClosed):
        retry(owner, letter.id, BY)
    # It stays readable and unchanged for ever.
    for statement in ("UPDATE dead_letters SET reason = 'other'", "UPDATE dead_letters SET state = 'open'"):
        with pytest.raises(psycopg.errors.RestrictViolation):
            owner.execute(statement)
    with database.connect("test") as service, pytest.raises(psycopg.errors.InsufficientPrivilege):
        service.execute("DELETE FROM dead_letters")


def advance_to_head(connection: Connection[Any], projection: Projection) -> None:
    """Advance the live version of a projection while no runner does."""
    claim = Claim(projection, 1, uuid4(), "running")
    take_over(connection, claim)
    set_state(connection, projection.name, "running")
    seen = progress(connection, projection.name)
    batch = read_batch(connection, projection, seen.position, seen.head)
    assert advance(connection, claim, batch, 0.0, None)


def test_a_discarded_opening_leaves_nothing_to_go_on_from(database: Database, owner: Connection[Any]) -> None:
    with poisoned("balances") as failing, running(database) as ledger:
        failing.streams.add(A)
        with projecting(database, tuple(PROJECTIONS.values())):
            open_accounts(ledger, "a", "b")
            ledger.perform(transfer("a", "b", 5))
            await_head(owner)
            failing.streams.clear()
            letter = discard(owner, sole_letter(owner).id, BY, "why not")
            assert letter.closing is not None
            following = sole_letter(owner, state="open")
            assert (following.id, following.stream_version) == (letter.closing.followed_by, 2)
            assert following.exception == "Inconsistent"
            assert versions(owner) == {"b": 2}


SKIPPED = {
    "transactions": "transaction.hold_settled",
    "ledgers": "ledger.asset_registered",
    "entries": "transaction.posted",
    "due": "transaction.held",
}


def test_transactions_ledgers_and_statements_leave_out_what_is_discarded(
    database: Database, owner: Connection[Any]
) -> None:
    with running(database) as ledger:
        fill(ledger, count=40)
        for name, topic in SKIPPED.items():
            with poisoned(name) as failing:
                rows = owner.execute(
                    "SELECT notification_id FROM events WHERE topic = %s ORDER BY 1 LIMIT 1", (topic,)
                ).fetchall()
                failing.positions |= {position for (position,) in rows}
                assert failing.positions
                advance_to_head(owner, failing.projection)
                letter = sole_letter(owner, projection=name)
                assert discard(owner, letter.id, BY, "to see").closing is not None
                assert list_letters(owner, projection=name, state="open") == []
                assert progress(owner, name).dead_letters == 0
        settled = sole_letter(owner, projection="transactions")
        with projecting(database):
            outcomes(ledger.execute(*(transfer("bank", "users", 1) for _ in range(9))).result())
            await_head(owner)
        rows = owner.execute(
            "SELECT status, version FROM transactions_v1 WHERE 'main/transactions/' || id = %s",
            (settled.stream,),
        ).fetchall()
        assert rows == [("pending", settled.stream_version)]
        posted = sole_letter(owner, projection="entries").stream.rpartition("/")[2]
        assert owner.execute(
            "SELECT count(*) FROM entries_v1 WHERE transaction_id = %s", (posted,)
        ).fetchone() == (0,)


def test_a_letter_that_does_not_exist(database: Database, owner: Connection[Any]) -> None:
    nobodys = UUID(int=1)
    with pytest.raises(DeadLetterNotFound):
        retry(owner, nobodys, BY)
    with pytest.raises(DeadLetterNotFound):
        discard(owner, nobodys, BY, "why")
    with pytest.raises(DeadLetterNotFound):
        find_letter(owner, nobodys)


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


def test_retries_and_the_running_projector_do_not_overtake_each_other(
    database: Database, owner: Connection[Any]
) -> None:
    with poisoned("balances") as failing, running(database) as ledger:
        open_accounts(ledger, "a", "b")
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                outcomes(ledger.execute(*(transfer("a", "b", 1) for _ in range(3))).result())

        with (
            projecting(database, tuple(PROJECTIONS.values())),
            ThreadPoolExecutor(4) as pool,
            database.connect("test") as one,
            database.connect("test") as two,
        ):
            writing = pool.submit(write)
            try:
                for _ in range(12):
                    failing.streams.add(A)
                    eventually(lambda: bool(list_letters(owner, state="open")))
                    letter = sole_letter(owner, state="open")
                    failing.streams.clear()
                    decided = [pool.submit(retry, each, letter.id, BY) for each in (one, two)]
                    for each in decided:
                        assert each.result().state == "resolved"
            finally:
                stop.set()
                writing.result()
            await_head(owner)
            assert_equal_to_fold(database, owner)
            assert progress(owner, "balances").dead_letters == 0


HELD_STILL = """
import sys
from time import sleep
from uuid import UUID
from domain.model.events import Context
from domain.journal.database import Database
from projections.registry import PROJECTIONS
from projections.running.dead_letter_decisions import retry

original = PROJECTIONS["balances"]

def project(connection, queries, events):
    original.project(connection, queries, events)
    print("written", flush=True)
    sleep(600)

PROJECTIONS["balances"] = original._replace(project=project)
with Database(*sys.argv[1:3]).connect("test") as connection:
    retry(connection, UUID(sys.argv[3]), Context("killed", "c"))
"""


def test_a_retry_that_is_killed_has_done_nothing(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        with poisoned("balances") as failing:
            failing.streams.add(A)
            with projecting(database, tuple(PROJECTIONS.values())):
                for _ in range(3):
                    ledger.perform(transfer("a", "b", 5))
                await_head(owner)
        letter = sole_letter(owner)
        command = [sys.executable, "-c", HELD_STILL, *database, str(letter.id)]
        root = Path(projections.__file__).parent.parent
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as retrying:
            assert retrying.stdout is not None
            assert retrying.stdout.readline() == b"written\n"
            os.kill(retrying.pid, signal.SIGKILL)
        with projecting(database):
            ledger.perform(transfer("a", "b", 5))
            await_head(owner)
            assert versions(owner) == {"b": 5}
            held = sole_letter(owner)
            assert held == letter._replace(held_events=letter.held_events + 1)
            assert retry(owner, letter.id, BY).state == "resolved"
            assert_equal_to_fold(database, owner)


def test_what_another_release_has_made_or_written_is_left_to_it(
    database: Database, owner: Connection[Any]
) -> None:
    with poisoned("balances") as failing, running(database) as ledger:
        open_accounts(ledger, "a", "b")
        failing.streams.add(A)
        with projecting(database, tuple(PROJECTIONS.values())):
            await_head(owner)
        failing.streams.clear()
        letter = sole_letter(owner)
        owner.execute("UPDATE projection_versions SET shape = shape + 1")
        with pytest.raises(JournalUnavailable) as unavailable:
            retry(owner, letter.id, BY)
        assert unavailable.value.reason == "another_release"
        owner.execute("UPDATE projection_versions SET shape = shape - 1")
        head = append(owner, A, 2, "account.limits_changed", b'{"class_version":99,"data":{}}')
        owner.execute("UPDATE projection_versions SET position = %s WHERE name = 'balances'", (head,))
        with pytest.raises(JournalUnavailable) as unavailable:
            retry(owner, letter.id, BY)
        assert unavailable.value.reason == "newer_version"
    assert sole_letter(owner) == letter._replace(held_events=1)


def test_a_rebuilt_version_has_letters_of_its_own_and_those_of_the_replaced_are_superseded(
    database: Database, owner: Connection[Any]
) -> None:
    with poisoned("balances") as failing, running(database) as ledger:
        open_accounts(ledger, "a", "b")
        failing.streams.add(A)
        with projecting(database, tuple(PROJECTIONS.values())):
            ledger.perform(transfer("a", "b", 5))
            await_head(owner)
            letter = sole_letter(owner)
            assert rebuild(database, "balances").switched  # equal, because both lack the same
            await_progress(owner, "balances", lambda seen: seen.version == 2)
            drop_retired(owner, "balances", PROJECTIONS["balances"].shape)
            superseded = find_letter(owner, letter.id)
            assert superseded.state == "superseded"
            assert superseded.closing is not None
            assert superseded.closing.by is None
            assert retry_is_refused(owner, letter.id)
            rebuilt = sole_letter(owner, state="open")
            assert (rebuilt.projection_version, rebuilt.position) == (2, letter.position)
            failing.streams.clear()
            assert retry(owner, rebuilt.id, BY).state == "resolved"
            assert_equal_to_fold(database, owner)


def test_a_version_that_is_being_rebuilt_is_left_to_its_rebuild(
    database: Database, owner: Connection[Any]
) -> None:
    with poisoned("balances") as failing, running(database) as ledger:
        open_accounts(ledger, "a", "b")
        failing.streams.add(A)
        with projecting(database, tuple(PROJECTIONS.values())):
            head = await_head(owner)
        letter = sole_letter(owner)
        set_state(owner, "balances", "rebuilding")
        with pytest.raises(ProjectionBehind) as behind:
            retry(owner, letter.id, BY)
        assert (behind.value.head, behind.value.state) == (head, "rebuilding")
        with pytest.raises(ProjectionBehind):
            discard(owner, letter.id, BY, "not now")
        assert sole_letter(owner) == letter


def test_who_decides_while_another_decides_is_told_so_in_time(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.running.dead_letter_decisions.PATIENCE_SECONDS", 0.05)
    with poisoned("balances") as failing, running(database) as ledger:
        open_accounts(ledger, "a", "b")
        failing.streams.add(A)
        with projecting(database, tuple(PROJECTIONS.values())):
            await_head(owner)
        letter = sole_letter(owner)
        failing.streams.clear()
        with database.connect("other") as other, other.transaction():
            other.execute("SELECT FROM projection_versions WHERE name = 'balances' FOR UPDATE")
            with pytest.raises(JournalUnavailable) as unavailable:
                retry(owner, letter.id, BY)
        assert unavailable.value.reason == "busy"
        assert sole_letter(owner) == letter
        assert retry(owner, letter.id, BY).state == "resolved"


def retry_is_refused(connection: Connection[Any], id: UUID) -> bool:
    with pytest.raises(DeadLetterClosed):
        retry(connection, id, BY)
    return True


def test_a_rebuild_that_would_hold_too_many_is_refused(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(database) as ledger, projecting(database):
        open_accounts(ledger, "a", "b", "c")
        await_head(owner)
    # No projector runs, because it would know the projection without the poison and might take the rebuild first.
    monkeypatch.setattr("projections.engine.dead_letters.MAX_HELD_STREAMS", 1)
    with poisoned("balances") as failing:
        failing.streams |= {A, B}
        failed = rebuild(database, "balances")
        assert failed.state == "failed"
        assert failed.last_error is not None
        assert "would be one more" in failed.last_error
    assert rebuild(database, "balances").switched
    assert_equal_to_fold(database, owner)


def is_waiting_for_a_lock(owner: Connection[Any], application_name: str) -> bool:
    """Whether a session of this database waits for another to end its transaction."""
    found = owner.execute(
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
        " AND wait_event_type = 'Lock'",
        (application_name,),
    )
    return found.rowcount > 0


def test_parts_that_are_filled_at_once_hold_no_more_streams_together_than_may_be(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two parts each meet a poison event. The second one does so after the first has counted and before it adds its
    own.
    """
    parts = 2
    with running(database) as ledger, projecting(database):
        open_accounts(ledger, *(f"a{number}" for number in range(9)))
        head = await_head(owner)
    monkeypatch.setattr("projections.engine.dead_letters.MAX_HELD_STREAMS", 1)
    streams = dict(
        owner.execute(
            "SELECT (hashtextextended(originator_id, 0) & 9223372036854775807) %% %s, max(originator_id) FROM events"
            " WHERE topic = 'account.opened' GROUP BY 1",
            (parts,),
        ).fetchall()
    )
    found_by_first, may_add = threading.Event(), threading.Event()

    def wait(connection: Connection[Any], *letter: Any) -> None:
        if "filling 0" in connection.info.get_parameters()["application_name"]:
            found_by_first.set()
            assert may_add.wait(60)
        add_letter(connection, *letter)

    monkeypatch.setattr("projections.engine.dead_letters.add_letter", wait)
    with poisoned("balances") as failing, ThreadPoolExecutor(parts) as pool:
        failing.streams |= set(streams.values())
        with database.connect("test") as connection:
            version = request_rebuild(connection, "balances", "test").version
        owner.execute(
            "INSERT INTO rebuild_parts (name, version, number, parts, upto)"
            " SELECT 'balances', %s, number, %s, %s FROM generate_series(0, %s) AS number",
            (version, parts, head, parts - 1),
        )
        owner.execute("UPDATE rebuilds SET state = 'filling'")

        def fill_part(number: int) -> None:
            with database.connect(f"test filling {number}") as connection:
                fill_versions(connection, [(failing.projection, version)], number)

        first = pool.submit(fill_part, 0)
        assert found_by_first.wait(60)
        second = pool.submit(fill_part, 1)
        eventually(lambda: second.done() or is_waiting_for_a_lock(owner, "test filling 1"))
        may_add.set()
        first.result()
        second.result()
    assert len(list_letters(owner, projection="balances", state="open")) == 1
    failed = find_rebuild(owner, "balances", version)
    assert (failed.state, "would be one more" in (failed.last_error or "")) == ("failed", True)


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
