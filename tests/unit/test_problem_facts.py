"""The registry of problems: what each means, whether the key is used up, what to do, and an example."""

import json

import pytest

from api.http.models.named_members import Problem
from api.http.openapi import refusals
from api.problem_examples import example_for_page
from api.problem_facts import FACTS, KEY_USE
from api.problems import PROBLEM_TYPES, problem, status_of
from api.resources import ENDPOINTS
from api.resources.installation.docs import problem_page

KEYED = [endpoint.declared for endpoint in ENDPOINTS if endpoint.declared.is_keyed]
CODES_OF_KEYED = {(error.code, status_of(error)) for declared in KEYED for error in refusals(declared)}


def test_every_code_has_its_facts_and_there_are_no_others() -> None:
    assert FACTS.keys() == PROBLEM_TYPES.keys(), "add a line for each code to api/problem_facts.py"


@pytest.mark.parametrize("code", PROBLEM_TYPES)
def test_every_problem_says_what_it_means_what_becomes_of_the_key_and_what_to_do(code: str) -> None:
    kind = PROBLEM_TYPES[code]
    for words in (kind.meaning, KEY_USE[kind.key], kind.remedy):
        assert words and words[-1] in ".…"
    page = problem_page(kind)
    assert f"<code>{code}</code>, status {kind.status}" in page
    for heading in ("Is the idempotency key used up?", "What to do", "An example"):
        assert f"<h2>{heading}</h2>" in page


@pytest.mark.parametrize("code", PROBLEM_TYPES)
def test_every_member_of_an_example_is_in_the_schema(code: str) -> None:
    example = example_for_page(code)
    assert example.keys() <= Problem.__annotations__.keys()
    assert problem(code, "", "", "").keys() <= example.keys()
    json.dumps(example)


def test_a_409_on_a_keyed_request_is_final_and_nothing_else_is() -> None:
    final = {code for code, kind in PROBLEM_TYPES.items() if kind.key == "used_up"}
    assert final == {code for code, status in CODES_OF_KEYED if status == 409}
    assert PROBLEM_TYPES["batch_rejected"].key == "free"
    assert {code for code, kind in PROBLEM_TYPES.items() if kind.key == "known"} == {"idempotency_key_reused"}


def test_what_a_keyed_request_can_meet_says_what_becomes_of_its_key() -> None:
    assert {code for code, _ in CODES_OF_KEYED if PROBLEM_TYPES[code].key == "none"} == set()
