"""api/README.md names every route, problem, role and path, so that it cannot go stale."""

import re
from typing import get_args

import pytest

from api.problems import PROBLEM_TYPES
from api.resources import ENDPOINTS
from api.security.keys import Role
from tests.service import ROOT

PAGE = (ROOT / "api" / "README.md").read_text(encoding="utf-8")
ANCHORS = {
    re.sub(r"[^a-z -]", "", line[3:].lower()).replace(" ", "-") for line in re.findall(r"^## .*", PAGE, re.M)
}


@pytest.mark.parametrize("code", PROBLEM_TYPES)
def test_it_names_every_problem(code: str) -> None:
    assert f"`{code}`" in PAGE


@pytest.mark.parametrize("path", sorted({endpoint.path for endpoint in ENDPOINTS}))
def test_it_names_every_route_by_its_last_part(path: str) -> None:
    parts = [part for part in path.split("/") if part and not part.startswith("{")]
    assert parts[-1] in PAGE


@pytest.mark.parametrize("role", get_args(Role))
def test_it_explains_every_role(role: str) -> None:
    assert f"| `{role}` |" in PAGE


def test_its_links_lead_somewhere() -> None:
    assert set(re.findall(r"\]\(#([a-z-]+)\)", PAGE)) == ANCHORS
