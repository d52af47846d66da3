"""Which events make entries: postings, settlements and reversals. Holds, voids and expiries make none."""

from typing import Any

import pytest
from msgspec.structs import replace
from psycopg import Connection

from domain.journal.database import Database
from domain.model.events import Context
from domain.model.holds import SettleHold, VoidHold
from domain.model.idempotency import Operation, operation_id
from domain.model.reversals import ReverseTransaction
from domain.model.transactions import Description
from projections.read_models.balances_at import posted_at, trial_balance
from projections.read_models.entries import Clock, list_entries
from projections.read_models.groups import list_groups
from projections.rebuilding.rebuilder import rebuild
from tests.ledgers import CONTEXT, open_accounts, outcomes, running, transfer
from tests.projecting import await_head, projecting

pytestmark = pytest.mark.integration

LAST_YEAR = "2025-01-01T00:00:00.000000Z"


def keyed(key: str) -> tuple[Context, str, Operation, Description]:
    return CONTEXT, "main", Operation(key, operation_id("main", key), "f"), Description(reference=key)


def id_of(key: str) -> str:
    return operation_id("main", key)


@pytest.fixture
def projected(database: Database, owner: Connection[Any]) -> None:
    """A posting of 3, reversed with an effective time last year, and holds of 10, one settled in part, one voided, one
    left.
    """
    soon = "2999-01-01T00:00:00.000000Z"
    with projecting(database), running(database) as ledger:
        open_accounts(ledger, "a", "b")
        outcomes(
            ledger.execute(
                replace(transfer("a", "b", 10, "hold"), pending=True),
                replace(transfer("a", "b", 20, "voided"), pending=True),
                replace(transfer("a", "b", 40, "left"), pending=True, expires_at=soon),
                transfer("a", "b", 3, "posting"),
                SettleHold(*keyed("settling"), id_of("hold"), 6),
                VoidHold(*keyed("voiding"), id_of("voided")),
                ReverseTransaction(*keyed("reversing"), id_of("posting"), None, LAST_YEAR),
            ).result()
        )
        await_head(owner)


def statement(connection: Connection[Any], address: str, clock: Clock) -> list[Any]:
    rows = list_entries(connection, "main", address, clock=clock, limit=99).rows
    return [(row.kind, row.transaction_id, row.direction, row.amount, row.balance_after) for row in rows]


@pytest.mark.usefixtures("projected")
def test_settlements_and_reversals_stand_in_statements(database: Database, owner: Connection[Any]) -> None:
    assert statement(owner, "b", "recorded") == [
        ("posting", id_of("posting"), "credit", 3, 3),
        ("settlement", id_of("settling"), "credit", 6, 9),
        ("reversal", id_of("reversing"), "debit", 3, 6),
    ]
    assert [row[0::4] for row in statement(owner, "b", "effective")] == [
        ("reversal", -3),
        ("posting", 0),
        ("settlement", 6),
    ]
    assert posted_at(owner, "main", "b").found.posted == (3, 9)
    assert posted_at(owner, "main", "a").found.posted == (9, 3)
    assert posted_at(owner, "main", "b", at=LAST_YEAR).found.posted == (3, 0)
    assert posted_at(owner, "main", "b", at=LAST_YEAR, clock="recorded").found.posted == (0, 0)
    assert trial_balance(owner, "main").found == [("USD/2", "12", "12")]
    assert trial_balance(owner, "main", at=LAST_YEAR).found == [("USD/2", "3", "3")]
    (group,) = list_groups(owner, "main", limit=9).rows
    assert group == ("", "USD/2", 2, "12", "12", "0")
    assert rebuild(database, "entries").equal


@pytest.mark.usefixtures("projected")
def test_the_journal_shows_entries_of_every_kind(owner: Connection[Any]) -> None:
    rows = owner.execute(
        "SELECT kind, transaction_id, account, direction, amount, balance_after FROM journal_entries"
        " ORDER BY position, entry"
    ).fetchall()
    assert rows == [
        ("posting", id_of("posting"), "a", "debit", 3, -3),
        ("posting", id_of("posting"), "b", "credit", 3, 3),
        ("settlement", id_of("settling"), "a", "debit", 6, -9),
        ("settlement", id_of("settling"), "b", "credit", 6, 9),
        ("reversal", id_of("reversing"), "a", "credit", 3, -6),
        ("reversal", id_of("reversing"), "b", "debit", 3, 6),
    ]
