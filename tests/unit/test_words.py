"""Every fault of a request is described in plain words, wherever it is."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from api.http.fields import BY_METADATA, body_errors, query_errors
from api.http.words import form, names_of
from api.resources import ENDPOINTS

BODIES = sorted({of.declared.body for of in ENDPOINTS if of.declared.body}, key=lambda model: model.__name__)
QUERIES = sorted({of.declared.query for of in ENDPOINTS}, key=lambda model: model.__name__)

PYDANTIC = re.compile(
    r"Input|input|String|List|Dictionary|Tuple|Value error|valid |should|permitted|pattern|\^|\$|Extra|Field"
    r"|the required form"
)
TEXTS = [
    "",
    "x",
    " ",
    "x" * 5000,
    "\0",
    "é",
    "-1",
    "0",
    "1.5",
    "9" * 500,
    "true",
    "TRUE",
    "a b",
    "*",
    "/",
    "2026",
    "\n",
]
JUNK: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        1.5,
        1e400,
        2**53,
        10**400,
        [],
        [None],
        [1, 2],
        {},
        {"a": 1},
        {"a b": "c"},
        {"a": "\0"},
    ),
    *(
        [{"account": "a b", "direction": "up", "amount": 0, "x": 1}] * 2,
        [{}] * 1001,
        {str(n): "" for n in range(51)},
    ),
    *({"destination": 1.5}, [["x"] * 200], ["client"] * 4, ["x"], [5]),
    *TEXTS,
]


def patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name == "pattern" and isinstance(value, str):
                yield value
            yield from (value if name == "patternProperties" else ())
            yield from patterns(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from patterns(value)


@pytest.mark.parametrize("model", [*BODIES, *QUERIES], ids=lambda model: model.__name__)
def test_every_form_of_text_has_words(model: type[BaseModel]) -> None:
    for pattern in patterns(model.model_json_schema()):
        assert not form(pattern).startswith("must match"), pattern


def require_plain(errors: Iterator[tuple[str, str]]) -> None:
    for pointer, words in errors:
        assert words and not PYDANTIC.search(words), (pointer, words)


@pytest.mark.parametrize("model", BODIES, ids=lambda model: model.__name__)
def test_members(model: type[BaseModel]) -> None:
    items = [
        [item]
        for item in (
            {"settle": 5},
            {"void": "", "x": 1},
            {"reverse": "a/b", "amount": 0},
            5,
            {"entries": [5]},
        )
    ]
    for name in [*names_of(model), "unknown"]:
        for value in [*JUNK, *items]:
            with pytest.raises(ValidationError) as refused:
                model.model_validate({"unknown": 1, "": 2, name: value, "url": 5, "type": 5})
            require_plain(body_errors(refused.value, model))
    for value in JUNK:
        try:
            model.model_validate(value)
        except ValidationError as refusal:
            require_plain(body_errors(refusal, model))


@pytest.mark.parametrize("model", QUERIES, ids=lambda model: model.__name__)
def test_parameters(model: type[BaseModel]) -> None:
    for name in [*names_of(model), "unknown", "metadata", "metadata.", "metadata.a b", "metadata.k"]:
        for value in TEXTS:
            with pytest.raises(ValidationError) as refused:
                model.model_validate({"unknown": "1", name: value})
            require_plain(query_errors(refused.value, model))


@pytest.mark.parametrize("model", QUERIES, ids=lambda model: model.__name__)
def test_an_unknown_parameter_is_answered_with_those_there_are(model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError) as refused:
        model.model_validate({"limit": "1", "metadata": "1"})
    told = dict(query_errors(refused.value, model))
    names = names_of(model)
    expected = (
        f"is unknown; the parameters are {', '.join(names)}"
        if names
        else "is unknown; there are no parameters"
    )
    assert told["?limit"] == told["?metadata"] == expected


def test_metadata_is_asked_for_by_its_keys() -> None:
    named = [model for model in QUERIES if BY_METADATA in names_of(model)]
    assert {model.__name__ for model in named} == {"AccountsQuery", "TransactionsQuery"}


def told(model: type[BaseModel], body: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(body)
    return dict(body_errors(refused.value, model))


def test_an_unknown_member_is_answered_with_those_there_are() -> None:
    models = {model.__name__: model for model in BODIES}
    entry = {"account": "a", "direction": "debit", "amount": 1, "side": 1}
    posting = {"entries": [entry, {**entry, "direction": "credit"}], "amount": 1}
    errors = told(models["TransactionRequest"], posting)
    assert errors["/entries/0/side"] == "is unknown; the members are account, direction, amount"
    assert errors["/amount"] == (
        "is unknown; the members are reference, description, metadata, entries, pending, expires_at, effective_at"
    )
    items = [
        {"idempotency_key": "k", **posting},
        {"idempotency_key": "k", "settle": "x", "entries": posting["entries"], "pending": True},
        {"idempotency_key": "k", "void": "x", "amount": 1},
    ]
    errors = told(models["BatchRequest"], {"mode": "atomic", "transactions": items, "key": 1})
    assert errors["/key"] == "is unknown; the members are mode, transactions"
    assert (
        errors["/transactions/0/entries/1/side"] == "is unknown; the members are account, direction, amount"
    )
    assert (
        errors["/transactions/1/entries/0/side"] == "is unknown; the members are account, direction, amount"
    )
    of_void = "is unknown; the members are reference, description, metadata, idempotency_key, void"
    assert errors["/transactions/2/amount"] == of_void
    assert "settle" in errors["/transactions/1/pending"]


def test_a_closed_set_is_shown_whole() -> None:
    models = {model.__name__: model for model in [*BODIES, *QUERIES]}
    assert told(models["AccountRequest"], {"address": "a", "asset": "USD/2", "normal_side": "left"}) == {
        "/normal_side": "must be one of credit, debit"
    }
    with pytest.raises(ValidationError) as refused:
        models["EventsQuery"].model_validate({"type": "limits", "order": "up"})
    errors = dict(query_errors(refused.value, models["EventsQuery"]))
    assert errors["?order"] == "must be one of asc, desc"
    assert errors["?type"].startswith("must be one of account.closed, ")
    assert "transaction.posted" in errors["?type"]
