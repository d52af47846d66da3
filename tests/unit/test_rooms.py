"""The folders of the packages: none is crowded, and each says in one sentence what it is for. Tests stand alone."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(
    init.parent
    for package in ("domain", "projections", "api", "scripts")
    for init in (ROOT / package).rglob("__init__.py")
)
MAX_MODULES = 20


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_a_folder_says_what_it_is_and_holds_few_modules(folder: Path) -> None:
    said = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    first = said.splitlines()[0] if said else ""
    assert first.endswith("."), f"{folder} says nothing of itself"
    modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MAX_MODULES


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for top in FOLDERS if top.parent == ROOT for path in top.rglob("*.py")}
    assert folders == set(FOLDERS)


TESTS = sorted((ROOT / "tests").rglob("*.py"))


@pytest.mark.parametrize("module", TESTS, ids=lambda module: str(module.relative_to(ROOT)))
def test_no_test_module_is_imported(module: Path) -> None:
    """Whatever several test modules use has a module of its own."""
    nodes = list(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))
    names = [
        alias.name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
    ]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    assert not [name for name in names if any(part.startswith("test_") for part in name.split("."))]
