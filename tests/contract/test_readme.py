"""The README's tour, pasted into a shell line by line, prints what the README shows."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service import ROOT, serving

pytestmark = [pytest.mark.contract, pytest.mark.timeout(180)]

README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
KEY = "tk_a-key-for-trying-things-out"
# What differs between runs: times, random ids, rates, checksums over times and their spans, the progress bar.
VOLATILE = re.compile(
    r'\d{4}-\d\d-\d\dT[\d:.]+Z|"correlation_id":"[^"]*"|━.*|checksum over all columns of all rows is \S+'
    r"|turnovers_v2 are equal: \d rows"
)


def tour() -> list[tuple[str, str]]:
    """Pairs of the lines to paste and the output shown, in order; no output is shown of what prints nothing."""
    section = README.partition("## A tour of five minutes")[2].partition("\n## ")[0]
    steps: list[tuple[str, str]] = []
    for language, text in BLOCK.findall(section)[1:]:  # the first starts the server
        if language == "sh":
            steps.append((text, ""))
        elif language == "python":
            # The client of this project, under the name that its wheel has (tests/contract/client/test_wheel.py).
            program = text.replace("tallystick_client", "api.client")
            steps.append((f"{sys.executable} - <<'END'\n{program}END\n", ""))
        else:
            steps[-1] = (steps[-1][0], text)
    return steps


def essence(text: str) -> list[object]:
    """The content of an output without its spacing: values of JSON, lines of anything else."""
    joined = re.sub(r"\n ", " ", text.strip())
    lines = [line for line in joined.splitlines() if line.strip()]
    said = [json.dumps(json.loads(line), separators=(",", ":")) if line[0] == "{" else line for line in lines]
    return [VOLATILE.sub("…", " ".join(line.split())) for line in said]


def test_the_tour_says_what_the_readme_shows(tmp_path: Path) -> None:
    with serving(tmp_path / ".tallystick", key=KEY) as service:
        take_the_tour(tmp_path, service.url)
        assert service.stop() == 0


def take_the_tour(folder: Path, url: str) -> None:
    """Paste each block into a shell and assert that its output is what the README shows."""
    shell = subprocess.Popen(
        ["bash"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "COLUMNS": "150", "LANG": "C.UTF-8"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert shell.stdin and shell.stdout
    with shell, shell.stdin, shell.stdout:
        for pasted, shown in tour():
            command = pasted.replace("http://127.0.0.1:8000", url)
            command = command.replace(".venv/bin/tallystick", f"{sys.executable} -m scripts.tallystick")
            shell.stdin.write(f"{command}\necho the-end\n")
            shell.stdin.flush()
            said = "".join(iter(shell.stdout.readline, "the-end\n"))
            assert essence(said) == essence(shown), pasted


def test_the_tour_shows_what_matters() -> None:
    shown = "".join(shown for _, shown in tour())
    for word in (
        "replayed: true",
        "insufficient_funds",
        '"state": "completed"',
        '"debits": "6050"',
        "are equal",
    ):
        assert word in shown
