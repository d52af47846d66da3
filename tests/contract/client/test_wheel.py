"""The client as a wheel of its own, in an environment without the service: it runs the example of the contract page."""

import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from venv import EnvBuilder

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.contract.serving import KEY, Served
from tests.service import ROOT

SECTION = (
    (ROOT / "api" / "README.md")
    .read_text(encoding="utf-8")
    .partition("\n## Client\n")[2]
    .partition("\n## ")[0]
)
EXAMPLE, SHOWN = re.findall(r"^```(?:python|text)\n(.*?)^```", SECTION, re.M | re.S)
BUILD = re.search(r"`cd api/client && python (-m hatchling .*?) -d \S+`", SECTION)
ALONE = """
import importlib.util, sys
import tallystick_client.synchronous, tallystick_client.webhooks
print([name for name in ("api", "domain", "scripts", "fastapi", "msgspec") if importlib.util.find_spec(name)])
"""


@pytest.fixture(scope="module")
def python(module_path: Path) -> Path:
    """The interpreter of a new environment that has the client's wheel and what it depends on, and nothing else."""
    assert BUILD
    built = [sys.executable, *BUILD[1].split(), "-d", str(module_path / "dist")]
    subprocess.run(built, cwd=ROOT / "api" / "client", check=True, capture_output=True)
    (wheel,) = (module_path / "dist").glob("tallystick_client-*.whl")
    place = module_path / "environment"
    EnvBuilder(with_pip=False).create(place)
    interpreter = place / "bin" / "python"
    command = [
        _with_pip(),
        *f"-m pip --python {interpreter} install --quiet --no-index --no-deps {wheel}".split(),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (packages,) = place.glob("lib/python*/site-packages")
    for name in _needed("httpx2"):
        for top in {path.parts[0] for path in distribution(name).files or () if ".." not in path.parts}:
            (packages / top).symlink_to(str(distribution(name).locate_file(top)))
    return interpreter


def _with_pip() -> str:
    """Return an interpreter that has pip. An environment on Debian may have none, but its origin does."""
    candidates: tuple[str, str] = (sys.executable, sys._base_executable)  # type: ignore[attr-defined]
    has_pip = [subprocess.run([each, "-m", "pip", "--version"], capture_output=True) for each in candidates]
    return next(each for each, ran in zip(candidates, has_pip, strict=True) if ran.returncode == 0)


def _needed(name: str) -> set[str]:
    """Return a distribution and everything that it depends on."""
    found: set[str] = {canonicalize_name(name)}
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found |= _needed(requirement.name)
    return found


def run(python: Path, program: str) -> str:
    """Run a program in the environment and return what it prints."""
    ran = subprocess.run([python, "-I", "-W", "error", "-c", program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_it_needs_nothing_of_the_service(python: Path) -> None:
    assert run(python, ALONE) == "[]\n"


def test_the_example_of_the_page_says_what_the_page_shows(python: Path, served: Served) -> None:
    address, key = "http://127.0.0.1:8000", "tk_a-key-for-trying-things-out"
    assert address in EXAMPLE and key in EXAMPLE
    assert run(python, EXAMPLE.replace(address, served.url).replace(key, KEY)) == SHOWN
