"""Two makers of TypeScript clients take the whole document, and programs work with what they made."""

import json
import re
from pathlib import Path
from uuid import uuid4

import pytest

from tests.contract.generators.generating import (
    compile_typescript,
    install_npm,
    needs_npm,
    run,
    write_document,
)
from tests.contract.serving import KEY, Served
from tests.service import ROOT

PAGE = (ROOT / "api" / "README.md").read_text(encoding="utf-8")

pytestmark = [needs_npm, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def installed(module_path: Path) -> Path:
    """A folder with both makers, and the document."""
    install_npm(module_path)
    write_document(module_path)
    return module_path


def test_openapi_typescript_and_openapi_fetch(installed: Path, served: Served) -> None:
    run(installed, "openapi-typescript", "openapi.json", "--output", "tallystick.ts")
    compile_typescript(installed, "fetching.ts")
    assert run(installed, "node", "made/fetching.js", served.url, KEY, new_ledger()) == "done\n"


def test_hey_api(installed: Path, served: Served) -> None:
    run(installed, "openapi-ts", "--file", "hey_api.config.js", "--no-log-file")
    compile_typescript(installed, "hey_api.ts")
    assert run(installed, "node", "made/hey_api.js", served.url, KEY, new_ledger()) == "done\n"


def test_the_first_transfer_on_the_page(installed: Path, served: Served) -> None:
    section = PAGE.partition("\n## From another language\n")[2].partition("\n## ")[0]
    make, program, execute, shown = (
        text for _, text in re.findall(r"^```(\w+)\n(.*?)^```", section, re.M | re.S)
    )
    folder = installed / "page"
    folder.mkdir()
    # As `npm install` would leave it.
    (folder / "package.json").write_text("{}")
    (folder / "node_modules").symlink_to(installed / "node_modules")
    (folder / "transfer.mts").write_text(pasted(program, served), encoding="utf-8")
    fetch, install, *others = pasted(make, served).splitlines()
    # What it installs is installed, as pinned.
    pinned = json.loads((installed / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    assert {name.partition("@")[0] for name in install.removeprefix("npm install ").split()} <= pinned.keys()
    said = [run(folder, *command.split()) for command in (fetch, *others, *execute.splitlines())]
    assert said[-1] == shown


def pasted(text: str, served: Served) -> str:
    """A part of the page, for the service of the test."""
    return text.replace("http://127.0.0.1:8000", served.url).replace("tk_a-key-for-trying-things-out", KEY)


def new_ledger() -> str:
    """The name of a ledger that no other test has."""
    return f"l{uuid4().hex[:12]}"
