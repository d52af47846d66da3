"""The doctor's report: findings by severity, as a table for people or as JSON for programs."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from projections.diagnosis.remedies import command_on, on_installation
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


class Report(NamedTuple):
    """What was found in an installation, and the facts shown with it. It has its name in a placement, else None."""

    examined: list[Examined]
    facts: dict[str, Any]
    installation: str | None = None


def as_json(reports: Sequence[Report], scope: Scope) -> str:
    """Return everything as one JSON object. That of a placement has one for each installation examined, by name."""
    bodies = {report.installation: _body(report, scope) for report in reports}
    if None in bodies:
        return json.dumps(bodies[None], indent=2)
    healthy = all(body["healthy"] for body in bodies.values())
    return json.dumps({"healthy": healthy, "installations": bodies}, indent=2)


def _body(report: Report, scope: Scope) -> dict[str, Any]:
    examined, facts, name = report
    return {
        "healthy": exit_code(examined) == EXIT_HEALTHY,
        "facts": facts,
        "scope": scope._asdict(),
        "findings": [members_of(finding, name) for finding in findings(examined)],
        "checks": [{"name": check.name, "seconds": round(check.seconds, 3)} for check in examined],
    }


def show(reports: Sequence[Report], scope: Scope, console: Console) -> None:
    """Print what was examined in each installation, then each finding with why it matters and what to do."""
    for number, report in enumerate(reports):
        if report.installation is not None:
            console.print(
                *[""] * bool(number), f"installation: {report.installation}", markup=False, sep="\n"
            )
        _show(report, scope, console)


def _show(report: Report, scope: Scope, console: Console) -> None:
    examined, facts, installation = report
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
    show_commands(found, console, installation)
    counts = Counter(finding.kind.severity for finding in found)
    console.print(f"Checks: {len(examined)}, errors: {counts['error']}, warnings: {counts['warning']}.")


def show_commands(found: Sequence[Finding], console: Console, installation: str | None = None) -> None:
    """Print the commands to run, each unbroken on a line of its own. `installation` is the one that they are for."""
    if not any(finding.commands for finding in found):
        return
    console.print(
        "Commands, ready to paste once you have read the above (tallystick in a shell, the rest in psql):"
    )
    for finding in found:
        for command in finding.commands:
            console.print(f"  {_printable(as_called(command, installation))}", markup=False, soft_wrap=True)


def table_of(found: Sequence[Finding]) -> Table:
    """Return findings as a table for people."""
    table = Table("finding", "what was found, why it matters, what to do", show_lines=True, expand=True)
    for finding in found:
        colour = _COLOURS[finding.kind.severity]
        table.add_row(f"[{colour}]{finding.kind.severity}[/]\n{finding.code}", _words(finding))
    return table


def members_of(finding: Finding, installation: str | None = None) -> dict[str, Any]:
    """Return a finding as the members of a JSON object, with commands for the installation of a placement."""
    commands = (
        finding.commands
        if installation is None
        else [command_on(each, installation) for each in finding.commands]
    )
    return {
        "code": finding.code,
        "severity": finding.kind.severity,
        "found": finding.found,
        "examples": finding.examples,
        "why": finding.kind.why,
        "remedy": finding.remedy if installation is None else on_installation(finding.remedy, installation),
        "commands": commands,
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
