"""Memory is bounded by size, however large callers make each piece of it."""

from typing import Any

import pytest
from msgspec.structs import replace

from domain.application import LedgerApplication
from domain.commit import decider
from domain.journal import snapshots
from domain.journal.database import Database
from domain.journal.snapshots import Snapshotter
from domain.journal.weights import weight_of, weight_of_commands
from domain.model.accounts import Account, AccountOpened, ChangeAccount, OpenAccount
from domain.model.ledgers import OpenLedger
from domain.model.payouts.requests import RequestPayout
from domain.model.streams import account_stream
from domain.model.transactions import Description
from projections.engine import recent_events
from projections.engine.recent_events import RecentEvents
from projections.registry import PROJECTIONS
from tests.ledgers import CONTEXT, folded, history, open_accounts, opening, outcomes, running, transfer

LARGE = {f"key-{n}": "x" * 512 for n in range(50)}
BOUND_BYTES = 1_000_000
ACCOUNTS = 200


def large(letter: str) -> AccountOpened:
    return AccountOpened(
        asset="USD/2",
        normal_side="credit",
        min_balance=None,
        max_balance=None,
        metadata={name: value.replace("x", letter) for name, value in LARGE.items()},
    )


def addresses() -> list[str]:
    return [f"large:{n}" for n in range(ACCOUNTS)]


def open_large(ledger: LedgerApplication) -> None:
    open_accounts(ledger, "a")
    for first in range(0, ACCOUNTS, 50):
        commands = [
            OpenAccount(CONTEXT, "main", name, large("y")) for name in addresses()[first : first + 50]
        ]
        outcomes(ledger.execute(*commands).result(60))


def measured(ledger: LedgerApplication) -> int:
    """The size of the metadata of all cached aggregates."""
    return sum(map(weight_of, list(ledger.group_commit._decider.states.values())))


def test_a_command_is_weighed_by_what_callers_have_made() -> None:
    small = transfer("a", "b", 1)
    plain = weight_of_commands([small])
    assert 0 < weight_of_commands([small, small]) == 2 * plain < 5_000
    assert weight_of_commands([replace(small, entries=small.entries * 500)]) > 100 * plain
    described = small.description._replace(metadata=LARGE)
    assert weight_of_commands([replace(small, description=described)]) > 25_000
    assert weight_of_commands([OpenAccount(CONTEXT, "main", "a", large("x"))]) > 25_000
    assert weight_of_commands([ChangeAccount(CONTEXT, "main", "a", metadata=LARGE)]) > 25_000
    assert weight_of_commands([ChangeAccount(CONTEXT, "main", "a", min_balance=1)]) < 5_000
    assert weight_of_commands([OpenLedger(CONTEXT, "main", LARGE)]) > 25_000
    destination = {"parts": [{"text": "x" * 100}] * 70}
    payout = RequestPayout(
        CONTEXT, "main", small.operation, Description(), "a", 1, "simulator", destination, None
    )
    assert weight_of_commands([payout]) > 7_000


def test_a_state_is_weighed_by_what_callers_have_made() -> None:
    def account(metadata: Any, opened: Any) -> Account:
        return Account(
            "main", "a", "USD/2", "credit", "open", None, None, metadata, 0, 0, 0, 0, "", opened, 1, 1
        )

    small = account({}, opening())
    assert weight_of(small) == weight_of(None) == 0
    whole = large("x")
    assert 25_000 < weight_of(account(whole.metadata, whole)) < 40_000
    assert weight_of(account(dict(whole.metadata), whole)) > 50_000  # as a snapshot leaves it
    wide = large("\N{GOTHIC LETTER HWAIR}")
    assert weight_of(account(wide.metadata, wide)) > 100_000


def test_cached_aggregates_are_bounded_by_their_size(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decider, "MAX_CACHED_BYTES", BOUND_BYTES)
    with running(database) as ledger:
        open_large(ledger)
        cache = ledger.group_commit._decider
        for _ in range(2):
            for address in addresses():
                ledger.perform(transfer("a", address, 1))
                assert measured(ledger) <= cache.weight + 50_000 <= BOUND_BYTES + 100_000
        assert account_stream("main", "a") in cache.states  # it is small
        assert ledger.account("main", "large:0")[0].balance == 2
    folded(history(database))


def test_what_others_change_is_weighed_too(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decider, "MAX_CACHED_BYTES", BOUND_BYTES)
    with running(database) as one, running(database) as other:
        open_accounts(one, "a", *addresses())
        for first in range(0, ACCOUNTS, 50):
            names = addresses()[first : first + 50]
            outcomes(other.execute(*(transfer("a", name, 1) for name in names)).result(60))
        for address in addresses():
            one.perform(ChangeAccount(CONTEXT, "main", address, LARGE))
            other.perform(transfer("a", "large:0", 1))
            assert measured(other) <= BOUND_BYTES
    folded(history(database))


def test_what_waits_to_be_kept_as_a_snapshot_is_bounded_by_its_size(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "MAX_WAITING_BYTES", BOUND_BYTES)
    waiting = Snapshotter(database)  # not started, so offered snapshots wait
    opened = large("x")
    for number in range(1, 100):
        account = Account(
            "main", f"{number}", "USD/2", "credit", "open", None, None, opened.metadata, 0, 0, 0, 0, "", opened,
            snapshots.SNAPSHOT_EVERY, number,
        )  # fmt: skip
        waiting.consider([(f"main/accounts/{number}", None, account)])
    assert waiting._waiting.qsize() < 50
    waiting.start()
    waiting.stop()
    assert waiting._waiting_bytes == 0


def test_the_newest_events_are_kept_by_their_size(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_events, "MAX_BYTES", BOUND_BYTES)
    with running(database) as ledger:
        open_large(ledger)
        head = ledger.head()
    newest = RecentEvents()
    projection = PROJECTIONS["balances"]
    with database.connect("tallystick test") as connection:
        for after in range(0, head, 10):
            upto = min(after + 10, head)
            batch = newest.batch(connection, projection, after, upto)
            assert batch is not None and batch.upto == upto
            kept = sum(len(event.row[3]) for event in newest._events)
            assert kept == newest._bytes <= BOUND_BYTES + 10 * 40_000
        assert newest.batch(connection, projection, 0, 1) is None  # to be read in another way
