"""What commands say of a ledger is the same after it has moved: positions, statements, books, and the live journal."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from domain.journal.database import Database
from domain.placement import mover
from domain.placement.installations import Installation
from domain.placement.mover import Mover
from scripts import endings
from scripts.tallystick import application
from tests.commands import invoke
from tests.ledgers import CONTEXT, open_accounts, outcomes, running, transfer
from tests.placements import beside, environment_of, prepared
from tests.projecting import await_head, eventually, projecting
from tests.service import ROOT

pytestmark = pytest.mark.integration


@pytest.fixture
def placed(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sequence[Installation]]:
    """The ledger main is at east, behind another one, so that its positions are ahead of those at west."""
    monkeypatch.setattr(mover, "KNOWN_SECONDS", 0.0)
    placed = beside(database, "east", "west")
    prepared(placed)
    with running(database) as ledger:
        open_accounts(ledger, *"uvwxyz", book="beside")
        open_accounts(ledger, "a", "b")
    post(placed[0], 3)
    with projecting(placed[0].database), projecting(placed[1].database):
        yield placed


def post(installation: Installation, count: int = 1) -> int:
    """Post in main, and return the newest position of the journal."""
    with running(installation.database) as ledger:
        results = ledger.execute(*(transfer("a", "b", 1) for _ in range(count))).result()
        return max(outcome.position for outcome in outcomes(results))


def moved(placed: Sequence[Installation], old: int, new: int) -> None:
    Mover("main", placed[old], placed[new], CONTEXT).run()
    for _, database in placed:
        with database.connect("test") as connection:
            await_head(connection)


def said(placed: Sequence[Installation], at: str, *arguments: str) -> str:
    options = [*arguments, "--installation", at]
    result = invoke(application([arguments[0]]), options, **environment_of(placed))
    assert result.exit_code == endings.DONE, result.output
    return result.stdout


REPORTS = [
    *(("report", kind, "--ledger", "main", "--format", "csv") for kind in ("journal", "activity", "changes")),
    ("report", "statement", "--ledger", "main", "--account", "b", "--format", "csv"),
    ("report", "trial-balance", "--ledger", "main", "--format", "csv"),
]


def test_statements_and_books_stay_as_they_were(placed: Sequence[Installation]) -> None:
    east, west = placed
    with east.database.connect("test") as connection:
        newest = await_head(connection)
    books = [("export", "-", "--format", form, "--ledger", "main", "--to", str(newest)) for form in FORMS]
    before = {arguments: said(placed, "east", *arguments) for arguments in [*REPORTS, *books]}
    assert before[REPORTS[0]].count("\n") == 1 + 3 * 2 + 1
    moved(placed, 0, 1)
    asked = [(*report, "--min-position", str(newest)) for report in REPORTS]
    assert [said(placed, "west", *arguments) for arguments in asked] == [before[of] for of in REPORTS]
    assert [said(placed, "west", *arguments) for arguments in books] == [before[of] for of in books]
    # Each ledger is in the books of one installation.
    for form in FORMS:
        at_east, at_west = (said(placed, at, "export", "-", "--format", form) for at in ("east", "west"))
        assert (":main:b" in at_east.lower(), ":main:b" in at_west.lower()) == (False, True)

    post(west, 2)
    with west.database.connect("test") as connection:
        await_head(connection)
    statement = json.loads(said(placed, "west", *REPORTS[3][:-1], "json"))
    positions = [int(row["position"]) for row in statement["data"]]
    assert positions == sorted(set(positions)) and positions[2] <= newest < positions[3]
    assert statement["position"] >= positions[-1]
    moved(placed, 1, 0)
    again = json.loads(said(placed, "east", *REPORTS[3][:-1], "json"))
    assert again["data"] == statement["data"]


FORMS = ("hledger", "beancount")


def test_the_live_journal_of_a_ledger_ends_when_it_leaves_and_goes_on_where_it_is(
    placed: Sequence[Installation],
) -> None:
    options = ["--ledger", "main", "--json"]
    before = lines(said(placed, "east", "tail", *options, "--after", "0", "--no-follow"))
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "scripts.tallystick",
            "tail",
            *options,
            "--after",
            "0",
            "--installation",
            "east",
        ],
        cwd=ROOT,
        env=environment_of(placed) | {"PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        followed: list[str] = []
        assert process.stdout is not None and process.stderr is not None
        reading = threading.Thread(target=followed.extend, args=(process.stdout,))
        reading.start()
        eventually(lambda: len(followed) == len(before))
        moved(placed, 0, 1)
        assert process.wait(30) == endings.ERRORS
        assert "main has moved to west" in process.stderr.read()
        reading.join()
    told = lines("".join(followed))
    assert told[: len(before)] == before
    assert [event["type"] for event in told[len(before) :]] == ["ledger.move_started", "ledger.moved"]

    post(placed[1])
    rest = lines(
        said(placed, "west", "tail", *options, "--after", str(told[-1]["position"]), "--no-follow"),
    )
    assert [event["type"] for event in rest][:1] == ["ledger.arrived"]
    assert rest[-1]["type"] in ("transaction.posted", "account.entries_posted")
    whole = lines(said(placed, "west", "tail", *options, "--after", "0", "--no-follow"))
    assert whole == [*told, *rest]


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]
