"""The journal report: every transaction with its entries, debits and credits in columns, in every form."""

import csv
import io
import json
import tracemalloc
from decimal import Decimal
from typing import Any

import pytest
from msgspec import to_builtins

from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.model.accounts import OpenAccount
from domain.model.entries import Entry
from domain.model.holds import SettleHold, VoidHold
from domain.model.idempotency import Operation, operation_id
from domain.model.ledgers import OpenLedger
from domain.model.postings import PostTransaction
from domain.model.reversals import ReverseTransaction
from domain.model.streams import ledger_of, name_of
from domain.model.times import Instant
from domain.model.transactions import Description, Posted
from projections.read_models.reports import Span, report
from tests.author import Author
from tests.integration.exporting import run
from tests.ledgers import CONTEXT, history, open_accounts, opening, outcomes, running, transfer
from tests.projecting import await_head, projecting

pytestmark = pytest.mark.integration

KINDS = {
    "transaction.posted": "posting",
    "transaction.settlement_posted": "settlement",
    "transaction.reversal_posted": "reversal",
}


def project_all(database: Database) -> None:
    with projecting(database), database.connect("test") as connection:
        await_head(connection)


def write(database: Database) -> None:
    author = Author(database, seed=6)
    author.write(rounds=6)
    author.write_of_accounts()
    project_all(database)


def expected(database: Database, ledger: str, clock: str) -> list[dict[str, Any]]:
    """What the report must say, folded from the journal."""
    rows = []
    for recorded in history(database):
        event, envelope = recorded.event, recorded.envelope
        if not isinstance(event, Posted) or ledger_of(recorded.stream) != ledger:
            continue
        for entry in to_builtins(event)["entries"]:
            is_debit = entry["direction"] == "debit"
            rows.append(
                {
                    "recorded_at": envelope.recorded_at,
                    "effective_at": event.effective_at,
                    "position": recorded.position,
                    "transaction_id": name_of(recorded.stream),
                    "kind": KINDS[event.TOPIC],
                    "reference": event.reference,
                    "description": event.description,
                    "actor": envelope.actor,
                    "account": entry["account"],
                    "asset": entry["asset"],
                    "debit": entry["amount"] if is_debit else 0,
                    "credit": 0 if is_debit else entry["amount"],
                }
            )
    return sorted(rows, key=lambda row: row[f"{clock}_at"])


def journal(database: Database, ledger: str, *options: object) -> dict[str, Any]:
    result = run("report", "journal", "--ledger", ledger, *options, "--format", "json", database=database)
    assert result.exit_code == 0, result.output
    said: dict[str, Any] = json.loads(result.stdout)
    for total in said["totals"]:
        assert total["debit"] == total["credit"] != "0"
        of_asset = [row for row in said["data"] if row["asset"] == total["asset"]]
        assert total["debit"] == str(sum(row["debit"] for row in of_asset))
    assert {row["asset"] for row in said["data"]} == {total["asset"] for total in said["totals"]}
    return said


@pytest.mark.parametrize("clock", ["recorded", "effective"])
@pytest.mark.parametrize("ledger", ["main", "main-2"])
@pytest.mark.prepared(by=write)
def test_it_has_every_entry_that_was_posted(database: Database, ledger: str, clock: str) -> None:
    rows = expected(database, ledger, clock)
    said = journal(database, ledger, "--clock", clock)
    assert said["data"] == rows
    assert {"posting", "settlement", "reversal"} >= {row["kind"] for row in rows}
    if ledger == "main-2":  # all of it was recorded at once
        return
    since, until = rows[len(rows) // 4][f"{clock}_at"], rows[-len(rows) // 4][f"{clock}_at"]
    part = journal(database, ledger, "--clock", clock, "--from", since, "--to", until)
    assert part["data"] == [row for row in rows if since <= row[f"{clock}_at"] < until] != []
    assert (part["from"], part["before"]) == (since, until)


@pytest.mark.parametrize("chosen", [("--account", "users"), ("--prefix", "users:1"), ("--prefix", "users_")])
@pytest.mark.prepared(by=write)
def test_of_an_account_it_has_the_whole_transactions(database: Database, chosen: tuple[str, str]) -> None:
    option, value = chosen
    rows = expected(database, "main", "recorded")
    touched = {
        row["position"]
        for row in rows
        if (row["account"] == value if option == "--account" else row["account"].startswith(value))
    }
    said = journal(database, "main", *chosen)
    assert said["data"] == [row for row in rows if row["position"] in touched] != rows
    assert touched


@pytest.mark.prepared(by=write)
def test_forms_say_the_same(database: Database) -> None:
    said = journal(database, "main-2")
    result = run("report", "journal", "--ledger", "main-2", "--format", "csv", database=database)
    rows = list(csv.DictReader(io.StringIO(result.stdout_bytes.decode(), newline="")))
    assert len(rows) == len(said["data"]) + len(said["totals"])
    for row, member in zip(rows, [*said["data"], *said["totals"]], strict=True):
        scale = int(member["asset"].split("/")[1])
        assert Decimal(row["debit"]).scaleb(scale) == int(member["debit"])
        assert Decimal(row["credit"]).scaleb(scale) == int(member["credit"])
        assert row["account"] == member["account"]
    table = run("report", "journal", "--ledger", "main-2", database=database).stdout
    assert table.startswith("Journal of main-2, from the beginning to the end, by recorded time;")
    assert table.count(said["data"][0]["transaction_id"]) == 1
    assert table.count("(total)") == len(said["totals"]) == 2


FORMULA = '=HYPERLINK("http://example.com","x")'


def post(
    ledger: LedgerApplication,
    book: str,
    key: str,
    amount: int,
    description: Description,
    effective_at: Instant | None = None,
    *,
    pending: bool = False,
) -> str:
    operation = Operation(key, operation_id(book, key), "f")
    entries = (
        Entry(account="a", direction="debit", amount=amount),
        Entry(account="-b", direction="credit", amount=amount),
    )
    command = PostTransaction(CONTEXT, book, operation, description, entries, effective_at, pending)
    outcomes(ledger.execute(command).result())
    return operation.id


def act(ledger: LedgerApplication, command: type[Any], key: str, of: str) -> None:
    operation = Operation(key, operation_id("odd", key), "f")
    outcomes(ledger.execute(command(CONTEXT, "odd", operation, Description(), of)).result())


def write_oddities(database: Database) -> None:
    """Texts that are formulas, assets of scale 0 and 18, holds of every ending, and transactions dated in the
    future.
    """
    with running(database) as ledger:
        for book, asset in (("odd", "USD/2"), ("yen", "JPY/0"), ("wei", "ETH/18"), ("empty", "USD/2")):
            ledger.perform(OpenLedger(CONTEXT, book, {}))
            for address in ("a", "-b"):
                ledger.perform(OpenAccount(CONTEXT, book, address, opening(asset=asset)))
        first = post(ledger, "odd", "posted", 150, Description(FORMULA, "+line\nbreak"))
        post(ledger, "odd", "future", 20, Description("later"), "2999-12-31T23:59:59.999999Z")
        for end in ("settled", "voided", "open"):
            hold = post(ledger, "odd", f"hold-{end}", 7, Description(f"hold {end}"), pending=True)
            if end != "open":
                act(ledger, SettleHold if end == "settled" else VoidHold, f"{end}", hold)
        act(ledger, ReverseTransaction, "reversed", first)
        post(ledger, "yen", "posted", 2**53 - 1, Description())
        post(ledger, "wei", "posted", 1, Description())
    project_all(database)


def csv_of(database: Database, kind: str, ledger: str, *options: object) -> list[dict[str, str]]:
    result = run("report", kind, "--ledger", ledger, *options, "--format", "csv", database=database)
    assert result.exit_code == 0, result.output
    assert result.stdout_bytes.count(b"\r\n") == result.stdout_bytes.count(b"\r")
    return list(csv.DictReader(io.StringIO(result.stdout_bytes.decode(), newline="")))


@pytest.mark.prepared(by=write_oddities)
def test_no_cell_of_any_report_is_a_formula(database: Database) -> None:
    for kind in ("journal", "trial-balance", "activity", "statement", "changes"):
        account = ("--account", "-b") if kind == "statement" else ()
        for row in csv_of(database, kind, "odd", *account):
            for name, value in row.items():
                try:
                    Decimal(value)
                    assert not value.startswith("+")
                except ArithmeticError:
                    assert not value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")), name
    (first, *_) = csv_of(database, "journal", "odd")
    assert (first["reference"], first["description"]) == (f"'{FORMULA}", "'+line\nbreak")
    assert {row["account"] for row in csv_of(database, "trial-balance", "odd")} == {"a", "'-b", ""}
    negative = csv_of(database, "statement", "odd", "--account", "a")
    assert [row["balance"] for row in negative] == ["-1.50", "-1.70", "-1.77", "-0.27"]


@pytest.mark.prepared(by=write_oddities)
def test_what_moves_no_money_is_not_in_it(database: Database) -> None:
    rows = journal(database, "odd")["data"]
    assert [row["kind"] for row in rows[::2]] == ["posting", "posting", "settlement", "reversal"]
    assert [row["debit"] or row["credit"] for row in rows[::2]] == [150, 20, 7, 150]
    said = run("report", "--help")
    assert "A hold appears once it is settled" in " ".join(said.stdout.replace("│", " ").split())


@pytest.mark.prepared(by=write_oddities)
def test_what_is_dated_in_the_future_comes_last_and_can_be_left_out(database: Database) -> None:
    effective = journal(database, "odd", "--clock", "effective")["data"]
    assert effective[-1]["reference"] == "later"
    until = journal(database, "odd", "--clock", "effective", "--to", "2999-12-30")["data"]
    assert until == effective[:-2]
    whole = journal(database, "odd", "--clock", "effective", "--to", "2999-12-31")["data"]
    assert whole == effective


@pytest.mark.prepared(by=write_oddities)
def test_assets_of_no_and_of_many_decimals(database: Database) -> None:
    (row, *_) = csv_of(database, "journal", "yen")
    assert row["debit"] == "9007199254740991"
    (row, *_) = csv_of(database, "journal", "wei")
    assert (row["debit"], row["credit"]) == ("0.000000000000000001", "0.000000000000000000")


@pytest.mark.prepared(by=write_oddities)
def test_a_ledger_without_transactions(database: Database) -> None:
    for kind in ("journal", "trial-balance", "activity"):
        assert csv_of(database, kind, "empty") == []
        table = run("report", kind, "--ledger", "empty", database=database)
        assert (table.exit_code, len(table.stdout.splitlines())) == (0, 5)


@pytest.mark.prepared(by=write_oddities)
def test_a_day_that_is_named_is_included(database: Database) -> None:
    day = journal(database, "odd")["data"][0]["recorded_at"][:10]
    assert len(journal(database, "odd", "--from", day, "--to", day)["data"]) == 8
    assert journal(database, "odd", "--from", day, "--to", f"{day}T00:00")["data"] == []


def write_many(database: Database) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        for _ in range(20):
            outcomes(ledger.execute(*(transfer("a", "b", 1) for _ in range(1000))).result())
    project_all(database)


@pytest.mark.prepared(by=write_many)
def test_a_large_report_is_read_in_parts(database: Database) -> None:
    tracemalloc.start()
    try:
        with (
            database.connect("test") as connection,
            report(connection, "journal", "main", Span()) as reading,
        ):
            count = sum(1 for _ in reading.found)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 40_000
    assert peak < 8 * 1024**2  # a tenth of the size of its rows
