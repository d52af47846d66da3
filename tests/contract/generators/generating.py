"""Makers of clients: installed as pinned here, in a folder of the test, and run there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from api.app import Application

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
SECONDS = 300

needs_npm = pytest.mark.skipif(
    shutil.which("npm") is None and "CI" not in os.environ, reason="there is no npm: apt-get install npm"
)


def run(folder: Path, *command: object) -> str:
    """Run a command in a folder and return all that it said. It finds what the folder has installed first."""
    places = (folder / "environment/bin", folder / "node_modules/.bin", os.environ["PATH"])
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, "PATH": os.pathsep.join(map(str, places)), "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}"
    return done.stdout


def write_document(folder: Path) -> None:
    """Write the OpenAPI document into a folder, as the service serves it."""
    (folder / "openapi.json").write_text(json.dumps(Application().openapi()), encoding="utf-8")


def install_python(folder: Path) -> None:
    """Install the maker of Python clients, with what its clients need, into an environment of its own."""
    # The tests' own pip installs there: to make another, and to compile what is hardly run, takes as long as the rest.
    run(folder, sys.executable, "-m", "venv", "--without-pip", "environment")
    pip = (sys.executable, "-m", "pip", "--python", "environment/bin/python", "--disable-pip-version-check")
    wanted = HERE / "requirements.txt"
    run(folder, *pip, "install", "--quiet", "--no-compile", "--no-deps", "--require-hashes", "-r", wanted)


def install_npm(folder: Path) -> None:
    """Install the makers of TypeScript clients, and the compiler, with their settings."""
    for path in (
        *(HERE / "package.json", HERE / "package-lock.json"),
        *(PROGRAMS / "tsconfig.json", PROGRAMS / "hey_api.config.js"),
    ):
        shutil.copy(path, folder)
    run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")


def compile_typescript(folder: Path, program: str) -> None:
    """Compile a program of this folder, and the client that it imports, as strictly as the compiler can."""
    for name in ("checking.ts", program):
        shutil.copy(PROGRAMS / name, folder)
    (folder / "only.json").write_text(json.dumps({"extends": "./tsconfig.json", "files": [program]}))
    run(folder, "tsc", "--project", "only.json")
