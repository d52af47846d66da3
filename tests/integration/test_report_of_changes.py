"""The report of changes: who changed what of an account, when, from what to what."""

import csv
import io
import json
from typing import Any

import pytest

from domain.journal.database import Database
from domain.model.accounts import Account, ChangeAccount, ChangeStatus, OpenAccount, evolve
from domain.model.events import Context
from domain.model.ledgers import OpenLedger
from domain.model.streams import ledger_of, name_of
from tests.author import Author
from tests.integration.exporting import run
from tests.ledgers import CONTEXT, history, open_accounts, opening, outcomes, running, transfer
from tests.projecting import append

pytestmark = pytest.mark.integration

ATTRIBUTES = ("status", "min_balance", "max_balance", "metadata")


def write(database: Database) -> None:
    author = Author(database, seed=7)
    author.write(rounds=2)
    author.write_of_accounts()


def changes(database: Database, ledger: str, *options: object) -> list[dict[str, Any]]:
    result = run("report", "changes", "--ledger", ledger, *options, "--format", "json", database=database)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["position"] == said["head"] == len(history(database))
    found: list[dict[str, Any]] = said["data"]
    return found


def expected(database: Database, ledger: str) -> list[dict[str, Any]]:
    """Every change, found by folding each account and comparing the states before and after each event."""
    accounts: dict[str, Account] = {}
    rows = []
    for recorded in history(database):
        if "/accounts/" not in recorded.stream or ledger_of(recorded.stream) != ledger:
            continue
        before = accounts.get(recorded.stream)
        after = accounts[recorded.stream] = evolve(before, recorded)
        for attribute in ATTRIBUTES:
            was, now = before and getattr(before, attribute), getattr(after, attribute)
            if before is None or was != now:
                rows.append(
                    {
                        "recorded_at": recorded.envelope.recorded_at,
                        "position": recorded.position,
                        "account": name_of(recorded.stream),
                        "asset": after.asset,
                        "change": recorded.event.TOPIC.removeprefix("account."),
                        "attribute": attribute,
                        "from": was,
                        "to": now,
                        "actor": recorded.envelope.actor,
                        "reason": getattr(recorded.event, "reason", ""),
                        "correlation_id": recorded.envelope.correlation_id,
                    }
                )
    return rows


@pytest.mark.parametrize("ledger", ["main", "main-2"])
@pytest.mark.prepared(by=write)
def test_every_change_is_told_with_what_was_before(database: Database, ledger: str) -> None:
    rows = expected(database, ledger)
    assert changes(database, ledger) == rows
    limits = [row for row in rows if row["attribute"].endswith("_balance")]
    assert changes(database, ledger, "--limits") == limits
    account = rows[0]["account"]
    of_one = [row for row in rows if row["account"] == account]
    assert changes(database, ledger, "--account", account) == of_one
    of_some = [row for row in rows if row["account"].startswith("yen")]
    assert changes(database, ledger, "--prefix", "yen") == of_some
    if ledger == "main-2":
        since = rows[-1]["recorded_at"]
        assert changes(database, ledger, "--from", since) == [
            row for row in rows if row["recorded_at"] >= since
        ]
        assert changes(database, ledger, "--to", since) == [row for row in rows if row["recorded_at"] < since]
        assert {row["change"] for row in rows} >= {
            "opened",
            "limits_changed",
            "metadata_changed",
            "frozen",
            "unfrozen",
            "closed",
        }


def write_of_one_limit(database: Database) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b", minimum=None)
        ledger.perform(OpenLedger(CONTEXT, "main-2", {}))
        ledger.perform(OpenAccount(CONTEXT, "main", "a-2", opening(0)))
        ledger.perform(OpenAccount(CONTEXT, "main-2", "a", opening(0)))
        for minimum, name in ((0, "ann"), (-50000, "=bob"), (-50000, "again"), (None, "eve")):
            context = Context(name, f"case {name}", None)
            ledger.perform(ChangeAccount(context, "main", "a", min_balance=minimum))
            outcomes(ledger.execute(*(transfer("b", "a", 1) for _ in range(30))).result())
        ledger.perform(ChangeStatus(CONTEXT, "main", "a", "frozen", "@looked into"))


@pytest.mark.prepared(by=write_of_one_limit)
def test_who_changed_this_limit(database: Database) -> None:
    options = ("--ledger", "main", "--account", "a", "--limits")
    table = run("report", "changes", *options, database=database)
    assert table.exit_code == 0
    lines = [line.split() for line in table.stdout.splitlines() if "min_balance" in line]
    told = [(line[4], line[6], line[7], line[8]) for line in lines if line[4] != "opened"]
    assert told == [
        ("limits_changed", "unlimited", "0.00", "ann"),
        ("limits_changed", "0.00", "-500.00", "=bob"),
        ("limits_changed", "-500.00", "unlimited", "eve"),
    ]
    result = run("report", "changes", "--ledger", "main", "--format", "csv", database=database)
    rows = list(csv.DictReader(io.StringIO(result.stdout_bytes.decode(), newline="")))
    assert [row["to"] for row in rows if row["actor"] == "'=bob"] == ["-500.00"]
    assert [row["reason"] for row in rows if row["change"] == "frozen"] == ["'@looked into"]


@pytest.mark.prepared(by=write_of_one_limit)
def test_an_event_of_a_newer_release_is_not_passed_over(database: Database) -> None:
    with database.connect_as_owner("test") as owner:
        append(owner, "main/accounts/new", 1, "account.opened", b'{"class_version":9}')
    result = run("report", "changes", "--ledger", "main", database=database)
    assert result.exit_code == 3
    assert "newer than this release" in result.stderr
