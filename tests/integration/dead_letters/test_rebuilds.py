"""Dead letters of versions that are being rebuilt or filled in parts."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection

from domain.journal.database import Database
from projections.engine.dead_letters import add_letter, find_letter, list_letters
from projections.errors import DeadLetterClosed, ProjectionBehind
from projections.rebuilding.part import fill as fill_versions
from projections.rebuilding.rebuilder import rebuild
from projections.rebuilding.requests import find_rebuild, request_rebuild
from projections.rebuilding.unread_versions import drop_retired
from projections.registry import PROJECTIONS
from projections.running.dead_letter_decisions import discard, retry
from tests.integration.dead_letters.letters import BY, A, B, sole_letter
from tests.integration.projector.folding import assert_equal_to_fold
from tests.ledgers import open_accounts, running, transfer
from tests.poisoning import poisoned
from tests.projecting import await_head, await_progress, eventually, projecting, set_state

pytestmark = pytest.mark.integration


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
