"""What the doctor says: findings by severity, as a table for people or as JSON for programs."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scripts.doctor.catalogue import Finding
from scripts.doctor.examination import Examined, Scope

EXIT_HEALTHY, EXIT_WARNINGS, EXIT_ERRORS = 0, 1, 3
_COLOURS = {"error": "bold red", "warning": "yellow"}


def exit_code(examined: Sequence[Examined]) -> int:
    """Return 0 if nothing was found, 1 for warnings only, 3 for errors; 2 is the wrong use of a command."""
    return code_of(findings(examined))


def code_of(found: Sequence[Finding]) -> int:
    """Return the exit code of findings, as `exit_code` has it."""
    severities = {finding.kind.severity for finding in found}
    return EXIT_ERRORS if "error" in severities else EXIT_WARNINGS if severities else EXIT_HEALTHY


def findings(examined: Sequence[Examined]) -> list[Finding]:
    """Return all findings, errors first, otherwise in the order of checks."""
    found = [finding for check in examined for finding in check.findings]
    return sorted(found, key=lambda finding: finding.kind.severity != "error")


def as_json(examined: Sequence[Examined], scope: Scope, facts: dict[str, Any]) -> str:
    """Return everything as one JSON object."""
    return json.dumps(
        {
            "healthy": not findings(examined),
            "facts": facts,
            "scope": scope._asdict(),
            "findings": [members_of(finding) for finding in findings(examined)],
            "checks": [{"name": check.name, "seconds": round(check.seconds, 3)} for check in examined],
        },
        indent=2,
    )


def show(examined: Sequence[Examined], scope: Scope, facts: dict[str, Any], console: Console) -> None:
    """Print what was examined, and each finding with why it matters and what to do."""
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
    errors = sum(finding.kind.severity == "error" for finding in found)
    console.print(f"Checks: {len(examined)}, errors: {errors}, warnings: {len(found) - errors}.")


def table_of(found: Sequence[Finding]) -> Table:
    """Return findings as a table for people."""
    table = Table("finding", "what was found, why it matters, what to do", show_lines=True, expand=True)
    for finding in found:
        colour = _COLOURS[finding.kind.severity]
        table.add_row(f"[{colour}]{finding.kind.severity}[/]\n{finding.code}", _words(finding))
    return table


def members_of(finding: Finding) -> dict[str, Any]:
    """Return a finding as members of JSON."""
    return {
        "code": finding.code,
        "severity": finding.kind.severity,
        "found": finding.found,
        "examples": finding.examples,
        "why": finding.kind.why,
        "remedy": finding.kind.remedy,
    }


def _words(finding: Finding) -> str:
    lines = [
        escape(_printable(finding.found)),
        *(f"· {escape(_printable(words))}" for words in finding.examples),
    ]
    return "\n".join([*lines, f"[dim]{finding.kind.why}[/]", f"→ {escape(finding.kind.remedy)}"])


def _printable(text: str) -> str:
    """Return text that a terminal does not obey: much of it was written by others."""
    text = text.expandtabs()
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
