"""Reports: each equals the journal, by either clock, in every form."""

import csv
import io
import json
from typing import Any

import pytest
from msgspec import to_builtins

from domain.journal.database import Database
from domain.model.streams import ledger_of
from domain.model.transactions import Posted
from tests.author import Author
from tests.integration.exporting import run
from tests.ledgers import history
from tests.projecting import await_head, projecting

pytestmark = pytest.mark.integration

NOON = "2026-01-01T12:00:00.000000Z"
Entry = dict[str, Any]


def write(database: Database) -> None:
    author = Author(database, seed=5)
    author.write(rounds=8)
    author.write_of_accounts()
    with projecting(database), database.connect("test") as connection:
        await_head(connection)


def reported(database: Database, kind: str, *options: object) -> dict[str, Any]:
    result = run("report", kind, *options, "--format", "json", database=database)
    assert result.exit_code == 0, result.output
    said: dict[str, Any] = json.loads(result.stdout)
    assert said["position"] == said["head"] == len(history(database))
    return said


def entries(database: Database, ledger: str, clock: str) -> list[Entry]:
    """Every posted entry of a ledger, in the order of a clock."""
    found = []
    for recorded in history(database):
        if isinstance(recorded.event, Posted) and ledger_of(recorded.stream) == ledger:
            times = {"recorded": recorded.envelope.recorded_at, "effective": recorded.event.effective_at}
            for entry in to_builtins(recorded.event)["entries"]:
                sign = 1 if entry["direction"] == "credit" else -1
                change = sign * entry["amount"]
                found.append({**entry, "time": times[clock], "change": change, "of": recorded.stream})
    return sorted(found, key=lambda entry: entry["time"])


@pytest.mark.parametrize("clock", ["recorded", "effective"])
@pytest.mark.parametrize("ledger", ["main", "main-2"])
@pytest.mark.prepared(by=write)
def test_reports_say_what_the_journal_says(database: Database, clock: str, ledger: str) -> None:
    journal = entries(database, ledger, clock)
    within = [entry for entry in journal if entry["time"] >= NOON]
    options = ("--ledger", ledger, "--clock", clock)
    balance = reported(database, "trial-balance", *options, "--from", "2026-01-01T12:00")
    assert [row["account"] for row in balance["data"]] == sorted({entry["account"] for entry in journal})
    for row in balance["data"]:
        of_it = [entry for entry in journal if entry["account"] == row["account"]]
        assert int(row["closing"]) == sum(entry["change"] for entry in of_it)
        assert int(row["closing"]) - int(row["opening"]) == int(row["credits"]) - int(row["debits"])
        debits = sum(e["amount"] for e in within if e in of_it and e["direction"] == "debit")
        assert int(row["debits"]) == debits
        assert row["credit_balance"] - row["debit_balance"] == row["closing"]
        assert 0 in (row["credit_balance"], row["debit_balance"])
    for total in balance["totals"]:
        assert total["debits"] == total["credits"]
        assert total["opening"] == total["closing"] == "0"
        balances = [row["debit_balance"] for row in balance["data"] if row["asset"] == total["asset"]]
        assert total["debit_balance"] == total["credit_balance"] == str(sum(balances)) != "0"
    activity = reported(database, "activity", *options, "--from", NOON)["data"]
    assert sum(int(row["entries"]) for row in activity) == len(within)
    moved = sum(entry["amount"] for entry in within if entry["direction"] == "debit")
    assert sum(int(row["amount"]) for row in activity) == moved
    assert {row["day"] for row in activity} == {entry["time"][:10] for entry in within}


@pytest.mark.parametrize("clock", ["recorded", "effective"])
@pytest.mark.prepared(by=write)
def test_a_statement_counts_on_from_before(database: Database, clock: str) -> None:
    account = "users:1:wallet"
    journal = [entry for entry in entries(database, "main", clock) if entry["account"] == account]
    options = ("--ledger", "main", "--account", account, "--clock", clock)
    rows = reported(database, "statement", *options)["data"]
    assert [(row["time"], int(row["amount"]), row["direction"]) for row in rows] == [
        (entry["time"], entry["amount"], entry["direction"]) for entry in journal
    ]
    balance = 0
    for row, entry in zip(rows, journal, strict=True):
        balance += entry["change"]  # the account is credit-normal
        assert int(row["balance"]) == balance
    since, until = journal[3]["time"], journal[-3]["time"]
    part = reported(database, "statement", *options, "--from", since, "--to", until)["data"]
    assert part == [row for row in rows if since <= row["time"] < until] != []


@pytest.mark.prepared(by=write)
def test_forms_of_a_report(database: Database) -> None:
    options = ("--ledger", "main-2")
    data = reported(database, "trial-balance", *options)
    table = run("report", "trial-balance", *options, database=database)
    stated = [
        "Trial balance of main-2, from the beginning to the end, by recorded time; amounts in units of their asset",
        f"position {data['position']} of {data['head']}",
    ]
    assert [table.stdout.splitlines()[0], table.stdout.splitlines()[-1]] == stated
    result = run("report", "trial-balance", *options, "--format", "csv", database=database)
    assert result.stderr.splitlines() == stated
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(rows) == len(data["data"]) + len(data["totals"])
    for row, member in zip(rows, [*data["data"], *data["totals"]], strict=True):
        units = 2 if row["asset"] == "EUR/2" else 0
        assert round(float(row["debits"]) * 10**units) == int(member["debits"])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("trial-balance", "--ledger", "nowhere"), 3, "ledger_not_found"),
        (("statement", "--ledger", "main", "--account", "nobody"), 3, "account_not_found"),
        (("statement", "--ledger", "main"), 2, "--account"),
        (("activity", "--ledger", "main", "--account", "users"), 2, "--account"),
        (("activity", "--ledger", "Main"), 2, "--ledger"),
        (("statement", "--ledger", "main", "--account", "a b"), 2, "--account"),
        (("activity", "--ledger", "main", "--from", "soon"), 2, "--from"),
        (("profits", "--ledger", "main"), 2, "profits"),
        (("activity", "--ledger", "main", "--prefix", "users"), 2, "--prefix"),
        (("journal", "--ledger", "main", "--prefix", "users", "--account", "users"), 2, "--prefix"),
        (("journal", "--ledger", "main", "--prefix", "a b"), 2, "--prefix"),
        (("journal", "--ledger", "main", "--group-by", "segment:1"), 2, "--group-by"),
        (("trial-balance", "--ledger", "main", "--group-by", "segment:0"), 2, "--group-by"),
        (("journal", "--ledger", "main", "--limits"), 2, "--limits"),
        (("changes", "--ledger", "main", "--clock", "effective"), 2, "--clock"),
        (("activity", "--ledger", "main", "--from", "2026-02-02", "--to", "2026-02-01"), 2, "--to"),
        (("activity", "--ledger", "main", "--to", "20260201"), 2, "--to"),
        (("activity", "--ledger", "main", "--min-position", "1000000"), 3, "projection_behind"),
    ],
)
@pytest.mark.prepared(by=write)
def test_what_cannot_be_reported(
    database: Database, arguments: tuple[str, ...], code: int, words: str
) -> None:
    result = run("report", *arguments, database=database)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr


@pytest.mark.prepared(by=write)
def test_groups_of_a_trial_balance(database: Database) -> None:
    options = ("--ledger", "main", "--from", NOON)
    single = reported(database, "trial-balance", *options)
    grouped = reported(database, "trial-balance", *options, "--group-by", "segment:1")
    assert {row["account"] for row in grouped["data"]} == {"users", "users_x", "bank"}
    for row in grouped["data"]:
        of_it = [one for one in single["data"] if one["account"].split(":")[0] == row["account"]]
        assert row["closing"] == str(sum(one["closing"] for one in of_it))
        assert int(row["credit_balance"]) - int(row["debit_balance"]) == int(row["closing"])
    for total in grouped["totals"]:
        assert total["debit_balance"] == total["credit_balance"]
        assert total["debits"] == total["credits"]


NUMBERS: dict[str, tuple[set[str], set[str]]] = {
    "journal": ({"position", "debit", "credit"}, set()),
    "trial-balance": ({"opening", "debits", "credits", "closing", "debit_balance", "credit_balance"}, set()),
    "activity": ({"transactions", "entries"}, {"amount"}),
    "statement": ({"position", "amount", "balance"}, set()),
    "changes": ({"position"}, set()),
}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.prepared(by=write)
def test_numbers_of_all_reports_follow_one_rule(database: Database, kind: str) -> None:
    account = ("--account", "users:1:wallet") if kind == "statement" else ()
    said = reported(database, kind, "--ledger", "main", *account)
    of_one, summed = NUMBERS[kind]
    for row in said["data"]:
        for name, value in row.items():
            if name in of_one:
                assert type(value) is int
            elif name in summed:
                assert isinstance(value, str) and value.removeprefix("-").isdecimal()
            else:
                assert value is None or isinstance(value, str | int | dict)
    amounts = of_one | summed
    for total in said["totals"]:
        assert all(isinstance(value, str) for value in total.values())
        assert all(total[name].removeprefix("-").isdecimal() for name in amounts if total.get(name))
    assert said["data"]
    assert (said["from"], said["before"], said["period"]) == (None, None, "from the beginning to the end")


@pytest.mark.parametrize("kind", ["journal", "trial-balance", "activity", "changes"])
@pytest.mark.prepared(by=write)
def test_a_period_in_which_nothing_happened(database: Database, kind: str) -> None:
    period = ("--from", "2020-01-01", "--to", "2020-12-31")
    said = reported(database, kind, "--ledger", "main", *period)
    assert (said["data"], said["totals"]) == ([], [])
    for form in ("table", "csv"):
        result = run("report", kind, "--ledger", "main", *period, "--format", form, database=database)
        assert result.exit_code == 0
        assert "from 2020-01-01 to 2020-12-31, both included (UTC)" in result.output


@pytest.mark.prepared(by=write)
def test_minor_units_are_those_of_json(database: Database) -> None:
    options = ("--ledger", "main-2")
    data = reported(database, "trial-balance", *options)
    for form in ("csv", "table"):
        result = run(
            "report", "trial-balance", *options, "--format", form, "--minor-units", database=database
        )
        assert "in minor units" in result.output
        if form == "csv":
            rows = list(csv.DictReader(io.StringIO(result.stdout)))
            found = [row["closing"] for row in rows]
            assert found == [str(row["closing"]) for row in (*data["data"], *data["totals"])]
