"""The runbook has a row for everything that may call an operator, and for nothing else."""

import re
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for tests alone

from projections.diagnosis.stuck.catalogue import CATALOGUE as STUCK
from scripts.doctor.catalogue import CATALOGUE as FINDINGS
from scripts.tallystick import application
from tests.runbook import PAGE, SCRIPTS, rows

WRITTEN = yaml.safe_load((SCRIPTS / "monitoring/alerts.yaml").read_text(encoding="utf-8"))
ALERTS = {rule["alert"]: rule for group in WRITTEN["groups"] for rule in group["rules"]}


@pytest.mark.parametrize(
    ("heading", "columns", "codes"),
    [("Alerts", 4, ALERTS), ("What is stuck", 3, STUCK), ("What the doctor finds", 3, FINDINGS)],
)
def test_each_has_a_row_and_no_other_has(heading: str, columns: int, codes: Collection[str]) -> None:
    table = rows(heading)
    assert all(len(cells) == columns and all(cells) and "`" in cells[1] for cells in table)
    named = [code for cells in table for code in re.findall(r"`(\w+)`", cells[0])]
    assert sorted(named) == sorted(codes)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_names_the_section(alert: str) -> None:
    assert ALERTS[alert]["annotations"]["runbook"] == "scripts/README.md#alerts"


def test_a_row_names_only_alerts_that_exist() -> None:
    assert set(re.findall(r"\bTallystick[A-Z]\w+", PAGE)) <= set(ALERTS)


RUNBOOK = PAGE.split("\n## Runbook\n", 1)[1].split("\n## ", 1)[0]
COMMANDS = sorted(set(re.findall(r"`(tallystick [^`]+)`", RUNBOOK)))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_can_be_pasted(command: str, tmp_path: Path) -> None:
    """Once the words in capitals are filled in, it is parsed as the terminal's would be."""
    (tmp_path / "file").touch()
    words = {"ID": "018f0000-0000-7000-8000-000000000000", "NAME": "entries", "POSITION": "1"}
    words |= dict.fromkeys(("FILE", "NOTE"), str(tmp_path / "file"))
    arguments = [words.get(word, word) for word in shlex.split(command)[1:]]
    called: Any = typer.main.get_command(application([arguments[0]]))
    while commands := getattr(called, "commands", None):
        # `tallystick replay NAME` is short for `tallystick replay run NAME`.
        name = arguments.pop(0) if arguments[0] in commands else "run"
        called = commands[name]
    with called.make_context(called.name, arguments):
        pass
