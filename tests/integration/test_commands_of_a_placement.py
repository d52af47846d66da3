"""Commands on a placement: those that examine ask every installation, those that act need one named."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from domain.application import LedgerApplication
from domain.model.events import Context
from domain.model.ledgers import OpenLedger
from domain.placement.installations import Installation
from scripts.tallystick import application
from tests.commands import call, invoke
from tests.databases import Databases
from tests.ledgers import running
from tests.placements import environment_of, prepared
from tests.projecting import await_head, projecting

pytestmark = pytest.mark.integration

CONVERSATION = "a-conversation-of-two-ledgers"


@pytest.fixture(scope="module")
def installations(databases: Databases) -> Iterator[Sequence[Installation]]:
    """East with the ledger `books` and west with `payroll`, opened in one conversation. The projectors have stopped."""
    with ExitStack() as stack:
        placed = [Installation(name, stack.enter_context(databases.installed())) for name in ("east", "west")]
        for (_, database), ledger in zip(placed, ("books", "payroll"), strict=True):
            with (
                running(database) as application,
                projecting(database),
                database.connect("test") as connection,
            ):
                _open(application, ledger)
                await_head(connection)
        prepared(placed)
        yield placed


def _open(application: LedgerApplication, ledger: str) -> None:
    application.perform(OpenLedger(Context("tester", CONVERSATION), ledger, {}))


class Called:
    """A command that was called with a placement in the environment."""

    def __init__(self, installations: Sequence[Installation], *arguments: str) -> None:
        result = invoke(application([arguments[0]]), arguments, **environment_of(installations))
        self.exit_code, self.stdout, self.stderr = result.exit_code, result.stdout, result.stderr

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        ("projections", "pause", "entries"),
        ("dead-letters", "retry-all"),
        ("webhooks", "disable", "0f8fad5b-d9cb-469f-a165-70867728950e", "--reason", "a test"),
        ("payouts", "list"),
        ("export", "-"),
        ("verify", "--live"),
        ("report", "trial-balance", "--ledger", "books"),
        ("replay", "entries"),
        ("prove", "--position", "1", "proof.txt"),
        ("tail",),
    ],
)
def test_what_acts_needs_one_named(installations: Sequence[Installation], arguments: tuple[str, ...]) -> None:
    called = Called(installations, *arguments)
    assert called.exit_code == 2
    assert "name one with --installation: east, west" in called.stderr


def test_one_that_is_named_is_worked_on(installations: Sequence[Installation]) -> None:
    for name, state in (("west", "paused"), ("east", "running")):
        if state == "paused":
            called = Called(installations, "projections", "pause", "entries", "--installation", name)
            assert called.exit_code == 0
        listed = Called(installations, "projections", "list", "--json", "--installation", name).json
        assert {seen["installation"] for seen in listed} == {name}
        assert next(seen["state"] for seen in listed if seen["name"] == "entries") == state
    Called(installations, "projections", "resume", "entries", "--installation", "west")


def test_an_unknown_name_is_refused_by_the_names_there_are(installations: Sequence[Installation]) -> None:
    for arguments in (("stuck",), ("doctor",), ("projections", "list"), ("export", "-")):
        for name in ("north", "all", ""):
            called = Called(installations, *arguments, "--installation", name)
            assert called.exit_code == 2
            assert f"there is no installation {name}; there is east, west" in called.stderr


def test_keys_are_those_of_home(installations: Sequence[Installation]) -> None:
    """Of a ledger anywhere in the placement: home's map has it."""
    made = Called(installations, "keys", "make", "shop", "--role", "client", "--ledger", "payroll")
    assert made.exit_code == 0 and made.stdout.startswith("tk_")
    (key,) = Called(installations, "keys", "list", "--json").json
    assert key["ledgers"] == ["payroll"]
    assert Called(installations, "keys", "rotate", key["id"]).stdout.startswith("tk_")
    for key in Called(installations, "keys", "list", "--json").json:
        assert Called(installations, "keys", "revoke", key["id"]).exit_code == 0
    with installations[1].database.connect("test") as of_west:
        assert of_west.execute("SELECT count(*) FROM api_keys").fetchall() == [(0,)]


def test_lists_have_all_installations(installations: Sequence[Installation]) -> None:
    listed = Called(installations, "projections", "list", "--json").json
    assert {seen["installation"] for seen in listed} == {"east", "west"}
    table = Called(installations, "projections", "list").stdout.splitlines()
    assert table[0].startswith("installation")
    assert len(table) == len(listed) + 1


def test_a_conversation_is_one_story(installations: Sequence[Installation]) -> None:
    told = Called(installations, "trace", CONVERSATION, "--json").json
    assert [(trace["ledger"], trace["installation"]) for trace in told["traces"]] == [
        ("books", "east"),
        ("payroll", "west"),
    ]
    opened = [moment for moment in told["timeline"] if moment["kind"] == "event_recorded"]
    assert [(moment["ledger"], moment["installation"]) for moment in opened] == [
        ("books", "east"),
        ("payroll", "west"),
    ]
    times = [moment["time"] for moment in told["timeline"] if moment["time"]]
    assert times == sorted(times)
    shown = Called(installations, "trace", CONVERSATION).stdout
    assert "Ledger: books, in east" in shown and "Ledger: payroll, in west" in shown
    alone = Called(installations, "trace", CONVERSATION, "--ledger", "payroll", "--json").json
    assert (alone["ledger"], alone["installation"]) == ("payroll", "west")
    missing = Called(installations, "trace", CONVERSATION, "--ledger", "nowhere")
    assert missing.exit_code == 3 and "nowhere" in missing.stderr


def test_the_doctor_examines_all(installations: Sequence[Installation]) -> None:
    report = Called(installations, "doctor", "--json").json
    assert list(report["installations"]) == ["east", "west"]
    codes = {
        name: {finding["code"] for finding in body["findings"]}
        for name, body in report["installations"].items()
    }
    assert "keys_absent" in codes["east"] and "keys_absent" not in codes["west"]
    alone = Called(installations, "doctor", "--json", "--installation", "west").json
    assert list(alone["installations"]) == ["west"]


def test_the_doctor_finds_an_installation_that_is_left_out(installations: Sequence[Installation]) -> None:
    report = Called(installations[:1], "doctor", "--json")
    assert report.exit_code == 3
    found = {finding["code"]: finding for finding in report.json["installations"]["east"]["findings"]}
    assert found["installation_unnamed"]["examples"] == ["west has 1 ledgers, such as payroll"]
    whole = Called(installations, "doctor", "--json").json["installations"]
    assert not [
        of for body in whole.values() for of in body["findings"] if of["code"] == "installation_unnamed"
    ]


def test_who_cannot_answer_is_named(installations: Sequence[Installation], databases: Databases) -> None:
    with databases.closed(installations[1].database):
        for arguments in (("stuck",), ("projections", "list"), ("trace", CONVERSATION)):
            called = Called(installations, *arguments)
            assert called.exit_code == 3
            assert "west could not answer: " in called.stderr
        assert "books" in Called(installations, "trace", CONVERSATION).stdout
        report = Called(installations, "doctor", "--json")
        assert report.exit_code == 3
        (found,) = report.json["installations"]["west"]["findings"]
        assert found["code"] == "database_unreachable"


def test_who_cannot_be_migrated_is_named(
    installations: Sequence[Installation],
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment_of(installations).items():
        monkeypatch.setenv(name, value)
    with databases.closed(installations[1].database):
        assert call(["migrate"]) == 3
    printed = capfd.readouterr()
    assert "of east is up to date" in printed.out
    assert "tallystick: west could not answer: " in printed.err


def test_without_a_placement_nothing_is_named(installations: Sequence[Installation]) -> None:
    database = installations[0].database
    arguments = ("--database-url", database.url, "--schema", database.schema)
    listed = invoke(application(["projections"]), ["projections", "list", "--json", *arguments])
    assert all("installation" not in seen for seen in json.loads(listed.stdout))


def test_all_are_migrated_and_only_home_gets_a_key(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as stack:
        placed = [Installation(name, stack.enter_context(databases.empty())) for name in ("east", "west")]
        for name, value in environment_of(placed).items():
            monkeypatch.setenv(name, value)
        assert call(["migrate"]) == 0
        printed = capfd.readouterr().out
        assert printed.count("API key with every role") == 1
        keys = {}
        for name, database in placed:
            assert f"schema {database.schema} of {name} is up to date" in printed
            with database.connect_as_owner("test") as connection:
                ((keys[name],),) = connection.execute("SELECT count(*) FROM api_keys").fetchall()
        assert keys == {"east": 1, "west": 0}
