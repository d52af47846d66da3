"""The OpenAPI document shows everything that api/README.md promises, and the service serves it."""

import re
from dataclasses import fields
from types import NoneType
from typing import Any, get_args, get_type_hints

import httpx2
import jsonschema_rs
import pytest

from api.app import create_app
from api.client.history import Event, Operation, Trace
from api.client.resources import (
    Account,
    AssetTotals,
    BalanceAt,
    GroupBalance,
    LedgerInfo,
    Payout,
    StatementEntry,
    Transaction,
    TrialBalance,
)
from api.http.consistency import Consistency
from api.http.spanning.spans import Spans
from api.problems import PROBLEM_TYPES
from api.resources import ENDPOINTS
from api.settings import Settings
from tests.contract.answers import states_position
from tests.contract.serving import Served

DOCUMENT = create_app(Settings(database_url="postgresql://nowhere")).openapi()
SCHEMAS = DOCUMENT["components"]["schemas"].values()
OPERATIONS: list[Any] = [
    pytest.param(path, operation, id=operation["operationId"])
    for path, operations in DOCUMENT["paths"].items()
    for operation in operations.values()
]


def test_it_is_served_as_it_is(client: httpx2.Client) -> None:
    assert client.get("/openapi.json").json() == DOCUMENT
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_every_route_is_in_it_once() -> None:
    assert len(OPERATIONS) == len(ENDPOINTS)
    ids = [
        operation["operationId"]
        for operations in DOCUMENT["paths"].values()
        for operation in operations.values()
    ]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_every_operation_is_described(path: str, operation: dict[str, Any]) -> None:
    assert operation["operationId"] and operation["summary"] and operation["description"]
    assert operation["x-consistency"]["class"].upper() in Consistency.__members__
    assert operation["x-consistency"]["guarantee"]
    scheme = "signature" if path.endswith("/callbacks") else "key"
    is_for_anybody = not path.startswith("/v1/") and path != "/metrics"
    assert operation["security"] == ([] if is_for_anybody else [{scheme: []}])


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_every_operation_has_examples_of_its_shape(path: str, operation: dict[str, Any]) -> None:
    contents = [operation["requestBody"]["content"]] if "requestBody" in operation else []
    for status, answer in operation["responses"].items():
        if status not in ("204", "304"):
            contents.append(answer["content"])
    for content in contents:
        for described in content.values():
            assert described["examples"]
            for example in described["examples"].values():
                schema = {**described.get("schema", {}), "components": DOCUMENT["components"]}
                jsonschema_rs.validate(schema, example["value"])


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_every_operation_names_its_headers(path: str, operation: dict[str, Any]) -> None:
    method = next(name for name, of in DOCUMENT["paths"][path].items() if of is operation)
    for status, answer in operation["responses"].items():
        assert {"Correlation-Id", "traceparent"} <= set(answer["headers"])
        is_of_the_books = states_position(path, method) and status not in ("401", "403")
        assert ("Ledger-Position" in answer["headers"]) == is_of_the_books


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_every_operation_names_its_problems(path: str, operation: dict[str, Any]) -> None:
    codes = {
        code
        for answer in operation["responses"].values()
        for code in answer.get("content", {}).get("application/problem+json", {}).get("examples", {})
    }
    expected = {
        *("internal_error", "invalid_request"),
        *("head_too_large", "malformed_request", "request_timeout", "overloaded"),
    }
    if operation["security"]:
        expected |= {"unauthenticated", "journal_unavailable"}
    if {"key": []} in operation["security"]:
        expected.add("forbidden")
    if "{ledger}" in path:
        expected.add("ledger_not_found")
    if "requestBody" in operation:
        expected |= {"malformed_json", "body_too_large", "unsupported_media_type", "request_timeout"}
    if any(parameter["name"] == "cursor" for parameter in operation.get("parameters", ())):
        expected |= {"cursor_invalid", "cursor_mismatch"}
    if any(parameter["name"] == "min_position" for parameter in operation.get("parameters", ())):
        expected.add("projection_behind")
    assert expected <= codes
    assert codes <= PROBLEM_TYPES.keys()


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_every_operation_says_who_answers_it_in_a_placement(path: str, operation: dict[str, Any]) -> None:
    spans = Spans[operation["x-spans"]["class"].upper()]
    assert operation["x-spans"]["answered"] == spans.value
    assert (spans is Spans.LEDGER) == ("{ledger}" in path)
    parameters = {parameter["name"] for parameter in operation["parameters"]}
    lists_all = spans is Spans.ALL and "cursor" in parameters
    assert ("installation" in parameters) == (lists_all or spans in (Spans.NAMED, Spans.CHOSEN))


def test_a_keyed_request_says_so() -> None:
    operation = DOCUMENT["paths"]["/v1/ledgers/{ledger}/transactions"]["post"]
    key = next(parameter for parameter in operation["parameters"] if parameter["name"] == "Idempotency-Key")
    assert key["required"] and key["in"] == "header"
    assert "Idempotent-Replayed" in operation["responses"]["201"]["headers"]
    assert {"409", "422", "400"} <= operation["responses"].keys()


STATUSES = {
    "unauthenticated": 401,
    "forbidden": 403,
    "body_too_large": 413,
    "head_too_large": 431,
    "malformed_request": 400,
    "overloaded": 503,
    "malformed_json": 400,
    "idempotency_key_missing": 400,
    "idempotency_key_invalid": 400,
    "cursor_invalid": 400,
    "cursor_mismatch": 400,
    "invalid_request": 422,
    "ledger_not_found": 404,
    "idempotency_key_reused": 422,
    "account_not_found": 404,
    "transaction_not_found": 404,
    "operation_unknown": 404,
    "payout_not_found": 404,
    "projection_not_found": 404,
    "dead_letter_not_found": 404,
    "checkpoint_not_found": 404,
    "witnessed_log_not_found": 404,
    "dead_letter_closed": 409,
    "webhook_not_found": 404,
    "delivery_not_found": 404,
    "version_mismatch": 412,
    "unbalanced_transaction": 422,
    "ledger_exists": 409,
    "account_exists": 409,
    "asset_scale_conflict": 409,
    "account_closed": 409,
    "account_frozen": 409,
    "amount_overflow": 409,
    "bootstrap_key_fixed": 409,
    "rebuild_not_under_way": 409,
    "rebuild_needed": 409,
    "hold_reserved": 409,
    "insufficient_funds": 409,
    "payout_ended": 409,
    "balance_limit_exceeded": 409,
    "projection_behind": 503,
    "journal_unavailable": 503,
    "not_found": 404,
    "method_not_allowed": 405,
    "unsupported_media_type": 415,
    "request_timeout": 408,
    "internal_error": 500,
    "read_only_replica": 421,
    "primary_unreachable": 503,
    "primary_unanswered": 504,
}


@pytest.mark.parametrize("code", STATUSES)
def test_every_problem_has_its_status_and_a_page(client: httpx2.Client, code: str) -> None:
    assert PROBLEM_TYPES[code].status == STATUSES[code]
    page = client.get(f"/problems/{code}")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert PROBLEM_TYPES[code].title in page.text
    assert code in page.text


def test_the_page_for_people_loads_nothing_from_elsewhere(client: httpx2.Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "://" not in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
        assert f'"/docs/{name}"' in page.text
        asset = client.get(f"/docs/{name}")
        assert asset.status_code == 200
        assert len(asset.content) > 50
        assert asset.headers["x-content-type-options"] == "nosniff"


def test_the_page_for_language_models_is_short_and_its_links_lead_somewhere(
    client: httpx2.Client, served: Served
) -> None:
    page = client.get("/llms.txt")
    assert page.headers["content-type"] == "text/plain; charset=utf-8"
    assert page.text.startswith("# Tallystick\n\n> ") and len(page.text.split()) < 500
    for word in ("Idempotency-Key", "/operations/{key}", "min_position", "in_doubt", "dry_run"):
        assert word in page.text
    links = set(re.findall(r"\]\(([^)]+)\)", page.text))
    assert {"/openapi.json", "/docs", "/console"} <= links
    # The console is not in the document that the other clients hold answers against.
    with httpx2.Client(base_url=served.url, headers=client.headers, follow_redirects=True) as reader:
        assert {link: reader.get(link).status_code for link in links} == dict.fromkeys(links, 200)


@pytest.mark.parametrize(
    "shown",
    [
        *(Account, AssetTotals, BalanceAt, Event, GroupBalance, LedgerInfo, Operation, Payout),
        *(StatementEntry, Trace, Transaction, TrialBalance),
    ],
)
def test_what_its_client_needs_is_always_there(shown: Any) -> None:
    """A member whose type in the client does not include None is required, and never null."""
    hints = get_type_hints(shown)
    needed = {name for name, hint in hints.items() if NoneType not in get_args(hint)}
    known = {field.name for field in fields(shown)}
    described = [each for each in SCHEMAS if known <= set(each.get("properties", ()))]
    assert described
    null = {"type": "null"}
    for schema in described:
        assert needed <= set(schema["required"])
        nullable = [name for name in needed if null in schema["properties"][name].get("anyOf", ())]
        assert [name for name in nullable if hints[name] is not Any] == []
