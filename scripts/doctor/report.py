"""The doctor's report: findings by severity, as a table for people or as JSON for programs."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scripts.calls import as_called
from scripts.doctor.catalogue.kind import Severity
from scripts.doctor.examination import Examined, Scope, examples
from scripts.doctor.finding import Finding

EXIT_HEALTHY, EXIT_WARNINGS, EXIT_ERRORS = 0, 1, 3
_COLOURS = {"error": "bold red", "warning": "yellow", "info": "cyan"}
_ORDER: Sequence[Severity] = ("error", "warning", "info")


def exit_code(examined: Sequence[Examined]) -> int:
    """Return 0 if nothing is wrong, 1 for warnings only, 3 for errors. 2 is left to wrong usage of a command."""
    return code_of(findings(examined))


def code_of(found: Sequence[Finding]) -> int:
    """Return the exit code for findings, as `exit_code` does."""
    severities = {finding.kind.severity for finding in found}
    if "error" in severities:
        return EXIT_ERRORS
    return EXIT_WARNINGS if "warning" in severities else EXIT_HEALTHY


def findings(examined: Sequence[Examined]) -> list[Finding]:
    """Return all findings, errors first, otherwise in the order of the checks."""
    found = _of_one_cause([finding for check in examined for finding in check.findings])
    return sorted(found, key=lambda finding: _ORDER.index(finding.kind.severity))


def _of_one_cause(found: Sequence[Finding]) -> list[Finding]:
    """Make one finding, in the place of the first, of all that say that the login lacks a right."""
    lacking = [finding for finding in found if finding.code == "rights_missing"]
    if len(lacking) < 2:
        return list(found)
    one = lacking[0]._replace(
        found=f"{len(lacking)} checks could not be made", examples=examples([each.found for each in lacking])
    )
    return [one if finding is lacking[0] else finding for finding in found if finding not in lacking[1:]]


def as_json(examined: Sequence[Examined], scope: Scope, facts: dict[str, Any]) -> str:
    """Return everything as one JSON object."""
    return json.dumps(
        {
            "healthy": exit_code(examined) == EXIT_HEALTHY,
            "facts": facts,
            "scope": scope._asdict(),
            "findings": [members_of(finding) for finding in findings(examined)],
            "checks": [{"name": check.name, "seconds": round(check.seconds, 3)} for check in examined],
        },
        indent=2,
    )


def show(examined: Sequence[Examined], scope: Scope, facts: dict[str, Any], console: Console) -> None:
    """Print what was examined, then each finding with why it matters and what to do."""
    for name, value in facts.items():
        console.print(f"{name}: {value}", markup=False)
    if scope.whole:
        words = "the whole journal"
    else:
        words = (
            f"the {scope.sample_events} newest events and as many drawn by --seed {scope.seed}; --all for all"
        )
    console.print(f"compared with projections and rules: {words}", markup=False, soft_wrap=True)
    found = findings(examined)
    if not found:
        console.print(f"{len(examined)} checks, nothing found.", style="green")
        return
    console.print(table_of(found))
    show_commands(found, console)
    counts = Counter(finding.kind.severity for finding in found)
    console.print(f"Checks: {len(examined)}, errors: {counts['error']}, warnings: {counts['warning']}.")


def show_commands(found: Sequence[Finding], console: Console) -> None:
    """Print the commands to run, each unbroken on a line of its own."""
    if not any(finding.commands for finding in found):
        return
    console.print(
        "Commands, ready to paste once you have read the above (tallystick in a shell, the rest in psql):"
    )
    for finding in found:
        for command in finding.commands:
            console.print(f"  {_printable(as_called(command))}", markup=False, soft_wrap=True)


def table_of(found: Sequence[Finding]) -> Table:
    """Return findings as a table for people."""
    table = Table("finding", "what was found, why it matters, what to do", show_lines=True, expand=True)
    for finding in found:
        colour = _COLOURS[finding.kind.severity]
        table.add_row(f"[{colour}]{finding.kind.severity}[/]\n{finding.code}", _words(finding))
    return table


def members_of(finding: Finding) -> dict[str, Any]:
    """Return a finding as the members of a JSON object."""
    return {
        "code": finding.code,
        "severity": finding.kind.severity,
        "found": finding.found,
        "examples": finding.examples,
        "why": finding.kind.why,
        "remedy": finding.remedy,
        "commands": finding.commands,
    }


def _words(finding: Finding) -> str:
    lines = [
        escape(_printable(finding.found)),
        *(f"· {escape(_printable(words))}" for words in finding.examples),
    ]
    return "\n".join([*lines, f"[dim]{finding.kind.why}[/]", f"→ {escape(finding.kind.remedy)}"])


def _printable(text: str) -> str:
    """Return text without control characters, which a terminal would obey: others wrote much of it."""
    text = text.expandtabs()
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
