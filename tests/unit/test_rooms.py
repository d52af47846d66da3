"""The folders of the packages: none is crowded, and each says in one sentence what it is for."""

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
