"""The command `tallystick doctor`: checks are independent and change nothing, and it says what is wrong."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from psycopg import Connection
from typer.testing import Result

from domain.journal.database import Database
from scripts.commands.doctor import OF_THE_INSTALLATION, OF_THE_SERVER, doctor
from scripts.doctor.catalogue import CATALOGUE
from scripts.doctor.examination import Check, Patient, examine
from tests.commands import invoke
from tests.integration.doctor.examining import ALL, PATIENCE_SECONDS, everything, fill
from tests.projecting import set_state

pytestmark = pytest.mark.integration


@pytest.mark.prepared(by=fill)
def test_one_check_that_fails_or_does_not_end_hides_no_other(
    database: Database, owner: Connection[Any]
) -> None:
    owner.execute("DROP TABLE snapshots")
    assert set(everything(database)) == {"check_failed"}

    def endless(patient: Patient) -> Iterator[Any]:
        while True:
            patient.connection.execute("SELECT pg_sleep(0.01)")
            yield from ()

    (finding,) = examine(database, Check("it", endless), ALL, 0.1).findings
    assert finding.code == "check_unfinished"


@pytest.mark.prepared(by=fill)
def test_nothing_can_be_changed_by_a_check(database: Database) -> None:
    def meddle(patient: Patient) -> Iterator[Any]:
        yield from patient.connection.execute("DELETE FROM snapshots RETURNING 1")

    (finding,) = examine(database, Check("it", meddle), ALL, PATIENCE_SECONDS).findings
    assert (finding.code, "read-only" in finding.found) == ("check_failed", True)


def called(database: Database, *arguments: str) -> Result:
    """Run `tallystick doctor`."""
    app = typer.Typer()
    app.command()(doctor)
    options = ["--database-url", database.url, "--schema", database.schema]
    return invoke(app, [*arguments, *options])


@pytest.mark.prepared(by=fill)
def test_the_command_says_what_is_wrong_and_ends_accordingly(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_BACKED_UP_BY", "nobody, as a database of tests need not be")
    result = called(database)
    assert (result.exit_code, "nothing found" in result.output) == (0, True)
    assert re.search(r"--seed \d+; --all", result.output)

    set_state(owner, "due", "paused")
    result = called(database, "--all")
    assert (result.exit_code, "errors: 0, warnings: 1" in result.output) == (1, True)
    assert "projection_paused" in result.output and "Resume it" in result.output

    owner.execute("UPDATE balances_v1 SET status = %s", ("\x1b[31m",))
    result = called(database, "--json", "--seed", "7")
    assert result.exit_code == 3
    told = json.loads(result.stdout)
    assert told["scope"] == {"whole": False, "sample_events": 500, "seed": 7}
    assert not told["healthy"]
    assert [(f["code"], f["severity"]) for f in told["findings"]] == [
        ("projection_differs", "error"),
        ("projection_paused", "warning"),
    ]
    assert all(f["found"] and f["why"] and f["remedy"] for f in told["findings"])
    assert told["facts"]["newest position"] > 100
    assert len(told["checks"]) == len(OF_THE_SERVER) + len(OF_THE_INSTALLATION)
    assert "\x1b[31m" not in called(database).output


def test_what_is_not_there_is_said_to_be_so(empty_database: Database) -> None:
    result = called(empty_database, "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, [f["code"] for f in told["findings"]]) == (3, ["schema_missing"])
    gone = empty_database._replace(url="postgresql://127.0.0.1:1/postgres")
    result = called(gone, "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, [f["code"] for f in told["findings"]]) == (3, ["database_unreachable"])
    assert called(empty_database, "--timeout-seconds", "0").exit_code == 2


def test_a_data_directory_that_is_not_there_or_damaged(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(doctor)
    assert invoke(app, ["--data-dir", str(tmp_path / "absent")]).exit_code == 3
    assert not (tmp_path / "absent").exists()
    (tmp_path / "postgres/data").mkdir(parents=True)
    (tmp_path / "postgres/data/remains").touch()
    result = invoke(app, ["--data-dir", str(tmp_path), "--json"])
    assert (result.exit_code, json.loads(result.stdout)["findings"][0]["code"]) == (3, "database_unreachable")


def test_every_finding_has_words() -> None:
    for code, kind in CATALOGUE.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", code)
        assert kind.why.endswith(".") and kind.remedy.endswith((".", ")"))
