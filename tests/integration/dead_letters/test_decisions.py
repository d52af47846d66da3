"""Dead letters retried and discarded: nothing of a stream is lost or applied twice."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import Connection

import projections
from domain.journal.database import Database
from domain.model.accounts import ChangeAccount
from domain.model.errors import JournalUnavailable
from domain.model.events import Context
from projections.engine.batches import ATTEMPTS
from projections.engine.dead_letters import find_letter, list_letters
from projections.errors import DeadLetterClosed, DeadLetterNotFound
from projections.read_models.balances import list_accounts
from projections.registry import PROJECTIONS
from projections.running.dead_letter_decisions import discard, retry
from projections.running.positions import progress
from tests.integration.dead_letters.letters import BY, A, advance_to_head, change, sole_letter, versions
from tests.integration.projector.folding import assert_equal_to_fold, fill
from tests.ledgers import CONTEXT, open_accounts, outcomes, running, transfer
from tests.poisoning import poisoned
from tests.projecting import append, await_head, eventually, projecting

pytestmark = pytest.mark.integration


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
