"""Checks of the answers of the service, and what tests read in them."""

import json
import re
from collections.abc import Collection
from typing import Any

import httpx2
import jsonschema_rs

_OF_EVERY_PROBLEM = {
    *("type", "title", "status", "detail", "instance", "code", "correlation_id"),
    *("transaction_id", "index", "errors"),
}

NOT_ALWAYS = {"Idempotent-Replayed", "Ledger-Dead-Letters", "Dry-Run", "Ledger-Installation"}
"""Headers that are documented, and which some answers do not have."""


POSITIONS = frozenset({"Ledger-Position", "Ledger-Head"})
"""The headers with positions of an installation."""


def states_position(path: str, method: str) -> bool:
    """Tell whether each answer of a route says which position it reflects: of the ledgers, and of all that is read.

    What says how the installations stand has the head of each in its body.
    """
    is_read = method.upper() == "GET" and path.startswith("/v1/") and path != "/v1/installations"
    return is_read or path.startswith("/v1/ledgers")


def _is_unplaced(answer: httpx2.Response) -> bool:
    """Tell whether a refusal is given by no installation: where the ledger is cannot be asked, or is not served here.

    Nor does a replica look where a ledger is that only the primary may answer for.
    """
    unasked = ("journal_unavailable", "read_only_replica", "primary_unreachable", "primary_unanswered")
    return answer.status_code >= 400 and answer.json()["code"] in unasked


def _may_be_unread(answer: httpx2.Response) -> bool:
    """Tell whether the caller's key may not have been read, because the database denies something."""
    return answer.status_code == 503 and bool(answer.content) and answer.json().get("reason") == "denied"


def named_in(problem: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a problem that name what it concerns."""
    return {name: value for name, value in problem.items() if name not in _OF_EVERY_PROBLEM}


class Checked:
    """Checks answers against the OpenAPI document and the rules for all answers (api/README.md, Conventions)."""

    def __init__(self, document: dict[str, Any], *, is_placement: bool = False) -> None:
        """What spans the installations of a placement has a position for each of them, in its body."""
        self.document = document
        self._is_placement = is_placement
        self._validators: dict[str, jsonschema_rs.Validator] = {}
        # A fixed path comes before one with a name in its place (OpenAPI 3.1 §4.8.8.1).
        self._paths = [
            (re.compile(re.sub(r"{\w+}", "[^/]+", path)), operations)
            for path, operations in sorted(document["paths"].items(), key=lambda item: item[0].count("{"))
        ]

    def __call__(self, answer: httpx2.Response) -> None:
        """Check one answer."""
        answer.read()
        assert 1 <= len(answer.headers["correlation-id"]) <= 128
        assert re.fullmatch(
            r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.*", answer.headers["traceparent"]
        )
        # As it was sent: an escaped slash separates nothing.
        path, method = answer.request.url.raw_path.decode().partition("?")[0], answer.request.method
        is_head = method == "HEAD"
        assert not (is_head and answer.content)
        if answer.status_code >= 400 and not is_head:
            self._check_problem(answer)
        operations: dict[str, Any] = next((shown for form, shown in self._paths if form.fullmatch(path)), {})
        operation = operations.get("get" if is_head else method.lower())
        # A caller that was not admitted, or asked for an unknown path, learns nothing about the books.
        is_let_in = bool(operation) and answer.status_code not in (401, 403)
        is_of_the_books = states_position(path, "get" if is_head else method)
        # In a placement a position is one of an installation: what no single one answers has none in its headers.
        is_merged = (
            self._is_placement
            and "ledger-installation" not in answer.headers
            and (answer.status_code >= 400 or not path.startswith("/v1/ledgers/"))
        )
        if self._is_placement and is_let_in and path.startswith("/v1/ledgers/") and not is_head:
            assert "ledger-installation" in answer.headers or _is_unplaced(answer), answer.request.url
        states = is_let_in and is_of_the_books and not is_merged
        if not _may_be_unread(answer):
            assert ("ledger-position" in answer.headers) == states, answer.request.url
        if operation:
            self._check_documented(answer, operation["responses"], POSITIONS if is_merged else frozenset())
        else:
            assert answer.status_code == (405 if operations else 404)
        if is_merged and is_of_the_books and answer.is_success and not is_head:
            self._check_reflected(answer.json())

    def _check_reflected(self, body: dict[str, Any]) -> None:
        """Check that what several installations answer states the position that it reflects of each of them."""
        assert body["reflected"].keys().isdisjoint(body["unanswered"])
        assert {item["installation"] for item in body.get("data", ())} <= body["reflected"].keys()
        for reflected in body["reflected"].values():
            assert 0 <= reflected["position"] <= reflected["head"]

    def _check_problem(self, answer: httpx2.Response) -> None:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["type"] == f"/problems/{problem['code']}"
        assert problem["instance"] == answer.request.url.raw_path.decode().partition("?")[0]
        assert problem["title"] and problem["detail"]
        if "idempotent-replayed" not in answer.headers:
            assert problem["correlation_id"] == answer.headers["correlation-id"]
        assert ("errors" in problem) == (answer.status_code == 422)
        self._validate(problem, {"$ref": "#/components/schemas/Problem"})

    def _check_documented(
        self, answer: httpx2.Response, responses: dict[str, Any], without: Collection[str]
    ) -> None:
        documented = responses[str(answer.status_code)]
        for name in documented.get("headers", ()):
            is_made = name != "Location" or "dry-run" not in answer.headers
            if is_made and name not in NOT_ALWAYS and name not in without:
                assert name in answer.headers, f"{name} is documented and missing"
        if answer.request.method == "HEAD":
            return
        if answer.status_code >= 400:
            named = documented["content"]["application/problem+json"]["examples"]
            assert answer.json()["code"] in named, answer.text
        elif answer.headers.get("content-type") == "application/json":
            self._check_content(answer, documented["content"]["application/json"])

    def _check_content(self, answer: httpx2.Response, content: dict[str, Any]) -> None:
        if "schema" in content:
            self._validate(answer.json(), content["schema"])

    def _validate(self, instance: Any, schema: dict[str, Any]) -> None:
        written = json.dumps(schema)
        if written not in self._validators:
            whole = {**schema, "components": self.document["components"]}
            self._validators[written] = jsonschema_rs.validator_for(whole, validate_formats=True)
        self._validators[written].validate(instance)


def code_of(answer: httpx2.Response) -> str:
    """The problem code of an answer."""
    code: str = answer.json()["code"]
    return code


def pointers_of(answer: httpx2.Response) -> list[str]:
    """The pointers to the faults of an invalid request."""
    assert answer.status_code == 422, answer.text
    return [error["pointer"] for error in answer.json()["errors"]]
