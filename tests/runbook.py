"""The runbook as tests read it: the rows of its tables, and whether a row has a command."""

from pathlib import Path

SCRIPTS = Path(__file__).parents[1] / "scripts"
PAGE = (SCRIPTS / "README.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of each row of the table in a section."""
    section = PAGE.split(f"### {heading}\n", 1)[1].split("\n## ", 1)[0].split("\n### ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def row_of(alert: str) -> str:
    """The whole row of an alert."""
    (found,) = (cells for cells in rows("Alerts") if cells[0] == f"`{alert}`")
    return " | ".join(found)
