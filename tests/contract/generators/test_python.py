"""openapi-python-client makes a client of the whole document, without a complaint, and a program works with it."""

import shutil
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from api.app import Application
from tests.contract.generators.generating import PROGRAMS, install_python, run, write_document
from tests.contract.serving import KEY, Served

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def made(module_path: Path) -> Path:
    """A folder with the client `tallystick_api`, and a program that uses it."""
    install_python(module_path)
    write_document(module_path)
    said = run(
        module_path,
        *("openapi-python-client", "generate", "--path", "openapi.json", "--fail-on-warning"),
        *("--meta", "none", "--output-path", "tallystick_api"),
    )
    assert said.splitlines() == ["Generating tallystick_api"]
    for name in ("round_trip.py", "mypy.ini"):
        shutil.copy(PROGRAMS / name, module_path)
    return module_path


def test_the_program_and_the_client_have_sound_types(made: Path) -> None:
    python = made / "environment/bin/python"
    run(made, sys.executable, "-m", "mypy", "--python-executable", python, "round_trip.py")


def test_the_program_sets_and_reads_metadata_lists_problems_and_unions(made: Path, served: Served) -> None:
    ledger = f"l{uuid4().hex[:12]}"
    read = run(made, made / "environment/bin/python", "round_trip.py", served.url, KEY, ledger)
    lists = {
        operation["operationId"]
        for operations in Application().openapi()["paths"].values()
        for operation in operations.values()
        if operation["operationId"].startswith("list_")
    }
    assert len(lists) > 10 and set(read.split()) == lists
