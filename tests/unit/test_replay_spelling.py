"""`tallystick replay` is spelt with subcommands. The flags that these replace do the same, and say the new spelling."""

import re
import shlex
from typing import Any

import pytest
import typer

from projections.registry import PROJECTIONS
from scripts.commands.replay.command import replay
from scripts.commands.replay.old_flags import WITHOUT_SUBCOMMAND
from tests.commands import invoke

AS_WELL_AS = [
    ("entries", "run entries"),
    ("entries balances --reason why", "run entries balances --reason why"),
    ("--all --workers 2", "run --all --workers 2"),
    ("--schema other entries", "run --schema other entries"),
]
"""Calls without a subcommand that are not old, and the same with one."""

OLD = [
    ("entries --restart", "restart entries"),
    ("--restart entries --reason why --workers 2", "restart entries --reason=why --workers=2"),
    ("entries --cancel", "cancel entries"),
    ("--all --cancel --reason 'it was wrong'", "cancel --all '--reason=it was wrong'"),
    ("entries balances --pause --workers 2", "pause entries balances"),
    ("entries --resume --reason why", "resume entries --reason=why"),
    ("entries --drop-retired --reason why", "drop-retired entries"),
    ("entries --accept-difference 'the disk was bad'", "accept entries '--reason=the disk was bad'"),
    ("--accept-difference=bad --all --workers=3", "accept --all --reason=bad --workers=3"),
    ("entries --schema other --cancel", "cancel entries"),
]
"""Calls with flags, and how they are spelt with subcommands."""

IN_TWO_COMMANDS = [
    ("entries --restart --accept-difference bad", ["restart entries", "accept entries --reason=bad"]),
    (
        "entries --reason why --accept-difference 'very bad'",
        ["run entries --reason=why", "accept entries '--reason=very bad'"],
    ),
    ("entries --resume --accept-difference bad", ["resume entries", "accept entries --reason=bad"]),
    ("entries --cancel --accept-difference bad", ["cancel entries"]),
]
"""Calls with flags that are spelt anew as several commands, or use only some of their flags."""

Calls = list[tuple[str, list[str], dict[str, Any]]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What was to be carried out: the act, the projections, and the options that were given."""
    seen: Calls = []

    def record(act: str, chosen: list[str], **options: Any) -> None:
        seen.append((act, chosen, {name: value for name, value in options.items() if value is not None}))

    monkeypatch.setattr("scripts.commands.replay.command.carry_out", record)
    monkeypatch.setattr("sys.argv", ["tallystick"])
    return seen


def called(line: str) -> tuple[int, str]:
    """Call `tallystick replay`; return its exit code and what it says on standard error."""
    result = invoke(replay, shlex.split(line))
    assert result.stdout == ""
    return result.exit_code, result.stderr


def told(errors: str) -> list[str]:
    """The commands that one line on standard error names instead."""
    assert errors.endswith("\n") and errors.count("\n") == 1
    return re.findall(r"`tallystick replay ([^`]+)`", errors)


@pytest.mark.parametrize(("line", "same"), AS_WELL_AS)
def test_no_subcommand_starts_a_rebuild_as_run_does(line: str, same: str, calls: Calls) -> None:
    assert called(line) == (0, "")
    assert called(same) == (0, "")
    first, second = calls
    assert first == second
    assert first[0] == "run"


@pytest.mark.parametrize(("line", "anew"), OLD)
def test_a_flag_does_what_it_did_and_says_its_new_spelling(line: str, anew: str, calls: Calls) -> None:
    code, errors = called(line)
    assert (code, told(errors)) == (0, [anew])
    assert called(anew) == (0, "")
    (act, chosen, options), (act_anew, chosen_anew, options_anew) = calls
    assert (act, chosen) == (act_anew, chosen_anew)
    # What the act does not use, it is no longer given; nor the installation, which this test does not name anew.
    assert options_anew.items() <= options.items()
    used = {"reason", "accept_difference", "workers"} - {
        "pause": {"workers"},
        "cancel": {"workers"},
        "drop-retired": {"reason", "workers"},
    }.get(act, set())
    assert {name: options[name] for name in used & options.keys()} == options_anew


@pytest.mark.parametrize(("line", "anew"), IN_TWO_COMMANDS)
def test_flags_together_are_spelt_as_one_command_after_another(
    line: str, anew: list[str], calls: Calls
) -> None:
    code, errors = called(line)
    assert (code, told(errors)) == (0, anew)
    assert ("if the versions differ" in errors) == (len(anew) == 2)
    assert len(calls) == 1
    for command in anew:
        assert called(command) == (0, "")


def test_the_new_spelling_is_told_in_one_line_and_can_be_pasted(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/opt/bin/tallystick", "replay", "entries", "--schema", "other"])
    _, errors = called("entries --schema other --accept-difference 'the disk\n was bad'")
    assert errors == (
        "tallystick: --accept-difference is an old spelling; the new one is"
        " `/opt/bin/tallystick replay accept entries '--reason=the disk was bad' --schema other`\n"
    )


@pytest.mark.parametrize("line", ["entries --pause --cancel", "nothing --pause", "--pause", "entries -x"])
def test_what_is_called_wrongly_is_told_no_spelling_and_not_carried_out(line: str, calls: Calls) -> None:
    code, errors = called(line)
    assert (code, calls) == (2, [])
    assert "old spelling" not in errors and "Usage: " in errors


@pytest.mark.parametrize("line", ["--help", "entries --help", "run --help", "accept --help", "pause --help"])
def test_help_shows_new_spellings_alone(line: str) -> None:
    result = invoke(replay, shlex.split(line))
    assert result.exit_code == 0
    assert not re.search(r"--(restart|cancel|pause|resume|drop-retired|accept-difference)", result.output)
    assert WITHOUT_SUBCOMMAND not in result.output.partition("Commands:")[2]


def test_no_projection_is_named_as_a_subcommand_is() -> None:
    subcommands = typer.main.get_group(replay).commands
    assert set(subcommands) == {"run", *(line.split()[0] for _, line in OLD), WITHOUT_SUBCOMMAND}
    assert not subcommands.keys() & PROJECTIONS.keys()
