"""Read models equal an independent fold of the journal and are read page by page."""

from typing import Any

import pytest
from psycopg import Connection

from domain.journal.database import Database
from domain.model.accounts import Account
from projections.read_models.balances import list_accounts, read_account
from projections.read_models.entries import Clock, StatementEntry, StatementPlace, list_entries
from projections.read_models.ledgers import LedgerPlace, list_ledgers
from tests.integration.projector.folding import ADDRESSES, assert_equal_to_fold, fill
from tests.ledgers import running
from tests.projecting import await_head, projecting

pytestmark = pytest.mark.integration


def test_read_models_equal_an_independent_fold_of_the_journal(
    database: Database, owner: Connection[Any]
) -> None:
    with projecting(database), running(database) as ledger:
        fill(ledger)
        await_head(owner)
        assert_equal_to_fold(database, owner)


def test_lists_are_read_page_by_page_and_filtered(database: Database, owner: Connection[Any]) -> None:
    with projecting(database), running(database) as ledger:
        fill(ledger, seed=8, count=120)
        await_head(owner)
    everything = list_accounts(owner, "main", limit=1000).rows
    for descending in (False, True):
        ordered = everything[::-1] if descending else everything
        seen: list[Account] = []
        while page := list_accounts(
            owner, "main", after=seen[-1].address if seen else None, limit=4, descending=descending
        ).rows:
            seen += page
        assert seen == ordered
        some = list_accounts(owner, "main", prefix="users:1", limit=1000, descending=descending).rows
        assert some == [account for account in ordered if account.address.startswith("users:1")]
        assert len(some) == 3
    addresses = [account.address for account in everything]
    assert [a.address for a in list_accounts(owner, "main", prefix="users", limit=99).rows] == [
        address for address in addresses if address.startswith("users")
    ]
    assert [a.address for a in list_accounts(owner, "main", asset="JPY/0", limit=9).rows] == ["vault"]
    assert list_accounts(owner, "main", status="frozen", limit=9).rows == []
    assert len(list_accounts(owner, "main", status="open", limit=99).rows) == len(everything)
    changed = [account for account in everything if account.metadata.get("round") == "40"]
    assert list_accounts(owner, "main", metadata={"round": "40"}, limit=99).rows == changed
    assert list_accounts(owner, "main", metadata={"round": "40", "absent": "x"}, limit=99).rows == []
    assert list_accounts(owner, "main", prefix="%", limit=9).rows == []
    assert list_accounts(owner, "nowhere", limit=9).rows == []
    assert [book.name for book in list_ledgers(owner, limit=1).rows] == ["main"]
    (main,) = list_ledgers(owner, limit=1).rows
    after = LedgerPlace(main.opened_at, main.name)
    assert [book.name for book in list_ledgers(owner, limit=9, after=after).rows] == ["other"]
    assert [book.name for book in list_ledgers(owner, limit=9, descending=True).rows] == ["other", "main"]
    assert [book.name for book in list_ledgers(owner, limit=9, granted=["other", "x"]).rows] == ["other"]
    assert list_ledgers(owner, limit=9, granted=[]).rows == []
    assert read_account(owner, "main", "bank").found == next(a for a in everything if a.address == "bank")
    assert read_account(owner, "main", "nobody").found is None


@pytest.mark.parametrize("clock", ["recorded", "effective"])
def test_statements_are_read_page_by_page_with_the_balance_of_the_whole(
    database: Database, owner: Connection[Any], clock: Clock
) -> None:
    with projecting(database), running(database) as ledger:
        fill(ledger, seed=9)
        await_head(owner)
    for address in ADDRESSES[:4]:
        whole = list_entries(owner, "main", address, clock=clock, limit=1_000_000).rows
        assert len(whole) > 20
        for descending in (False, True):
            ordered = whole[::-1] if descending else whole
            seen: list[StatementEntry] = []
            after: StatementPlace | None = None
            while page := list_entries(
                owner, "main", address, clock=clock, after=after, limit=7, descending=descending
            ).rows:
                seen += page
                after = page[-1].place(clock)
            assert seen == ordered
        since, until = whole[5].place(clock).time, whole[-5].place(clock).time
        assert list_entries(
            owner, "main", address, clock=clock, since=since, until=until, limit=999
        ).rows == [entry for entry in whole if since <= entry.place(clock).time < until]
