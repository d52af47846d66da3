"""The models of the OpenAPI document are fit for makers of clients: names, formats, choices, unions, webhooks."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

import pytest

from api.app import Application
from api.resources.journal.event_schemas import TYPES
from api.security.keys import Role

DOCUMENT = Application().openapi()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS: list[dict[str, Any]] = [
    operation
    for paths in (DOCUMENT["paths"], DOCUMENT["webhooks"])
    for operations in paths.values()
    for operation in operations.values()
]
VERBS = (
    *("get", "list", "post", "open", "change", "close", "freeze", "unfreeze", "settle", "void", "reverse"),
    *("request", "reconcile", "complete", "fail", "receive", "trace", "prove", "make", "rotate", "revoke"),
    *("pause", "resume", "rebuild", "cancel", "retry", "discard", "register", "delete", "enable", "disable"),
)
OPERATION_ID = re.compile(rf"(?:{'|'.join(VERBS)})(?:_[a-z]+)+")
TIME = re.compile(r"(?:.+_)?(?:at|from|until|time|since)")
# Ids that the ledger does not make, and what a caller named that was not found.
FREE_IDS = {"correlation_id", "causation_id", "event_id", "message_id"}
OF_PROBLEMS = {"Problem", "Rejection"}


class Found(NamedTuple):
    """A schema within the document: where it stands, and the name of the member or parameter that it is of."""

    place: str
    name: str
    schema: dict[str, Any]


def within(schema: dict[str, Any], place: str, name: str = "") -> Iterator[Found]:
    """Yield a schema and all schemas in it."""
    yield Found(place, name, schema)
    for member, inner in schema.get("properties", {}).items():
        yield from within(inner, f"{place}/{member}", member)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from within(schema[key], f"{place}/{key}")
    for key in ("anyOf", "oneOf", "allOf"):
        for inner in schema.get(key, ()):
            yield from within(inner, f"{place}/{key}", name)


def everywhere() -> Iterator[Found]:
    """Yield all schemas of the document."""
    for name, schema in SCHEMAS.items():
        yield from within(schema, name)
    for operation in OPERATIONS:
        id = operation["operationId"]
        for parameter in operation.get("parameters", ()):
            yield from within(parameter["schema"], f"{id}?{parameter['name']}", parameter["name"])
        for answer in (operation.get("requestBody", {}), *operation["responses"].values()):
            for content in answer.get("content", {}).values():
                yield from within(content.get("schema", {}), id)


ALL = list(everywhere())


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that a reference leads to."""
    found: dict[str, Any] = SCHEMAS[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def values(schema: dict[str, Any]) -> set[str]:
    """The values of a closed set."""
    return {schema["const"]} if "const" in schema else set(schema["enum"])


def test_each_schema_has_a_title_of_its_own_that_a_person_would_choose() -> None:
    assert {name: schema["title"] for name, schema in SCHEMAS.items()} == {name: name for name in SCHEMAS}
    assert [name for name in SCHEMAS if not re.fullmatch(r"(?:[A-Z][a-z]+)+", name)] == []
    assert [name for name in SCHEMAS if re.search(r"Body|Response|Input|Output|Schema|Model", name)] == []
    assert [found.place for found in ALL if "title" in found.schema and found.place not in SCHEMAS] == []


def test_every_reference_leads_somewhere_and_no_schema_is_left_over() -> None:
    links = set(re.findall(r"'#/components/schemas/(\w+)'", str(DOCUMENT)))
    # Receivers of webhooks read a message before they know which it is.
    assert links | {"WebhookMessage"} == SCHEMAS.keys()


def test_each_operation_has_an_id_of_its_own_that_a_person_would_choose() -> None:
    ids = [operation["operationId"] for operation in OPERATIONS]
    assert len(ids) == len(set(ids))
    assert [id for id in ids if not OPERATION_ID.fullmatch(id)] == []


def test_a_closed_set_has_a_name_and_no_empty_value() -> None:
    sets = [found for found in ALL if "enum" in found.schema]
    assert [found.place for found in sets if "" in found.schema["enum"]] == []
    assert [found.place for found in ALL if found.schema.get("const") == ""] == []
    unnamed = {found.place for found in sets} - SCHEMAS.keys()
    # The states that select one form of an operation.
    assert unnamed == {"UndecidedOperation/state", "TracedUndecidedOperation/state"}
    assert values(SCHEMAS["Role"]) == set(get_args(Role))


def test_a_filter_that_may_be_empty_says_so_beside_its_values() -> None:
    (accounts,) = (each for each in OPERATIONS if each["operationId"] == "list_accounts")
    shown = {parameter["name"]: parameter for parameter in accounts["parameters"]}
    assert shown["status"]["schema"] == {"$ref": "#/components/schemas/AccountStatus"}
    assert shown["status"]["allowEmptyValue"] and "allowEmptyValue" not in shown["order"]
    empty = [found.place for found in ALL if found.schema.get("maxLength") == 0]
    assert empty == []


def test_metadata_is_texts_by_their_keys_everywhere() -> None:
    found = [found for found in ALL if found.name == "metadata"]
    assert len(found) > 10
    for place, _, schema in found:
        shape = resolved(schema)
        assert shape["type"] == "object", place
        assert shape["propertyNames"]["pattern"].startswith("^"), place
        assert shape["additionalProperties"]["type"] == "string", place
    assert [found.place for found in ALL if "patternProperties" in found.schema] == []


def test_filters_by_metadata_are_parameters_of_their_own() -> None:
    filters = {
        operation["operationId"]: parameter
        for operation in OPERATIONS
        for parameter in operation.get("parameters", ())
        if parameter["name"] == "metadata"
    }
    assert filters.keys() == {"list_accounts", "list_transactions"}
    for parameter in filters.values():
        assert (parameter["in"], parameter["style"], parameter["explode"]) == ("query", "form", True)
        pattern = resolved(parameter["schema"])["propertyNames"]["pattern"]
        assert re.match(pattern, "metadata.customer") and not re.match(pattern, "customer")


def is_text(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "string" and "enum" not in schema and "const" not in schema


def test_times_have_their_format_on_answers_as_on_requests() -> None:
    times = [found for found in ALL if TIME.fullmatch(found.name) and is_text(found.schema)]
    assert len(times) > 100
    assert [found.place for found in times if found.schema.get("format") != "date-time"] == []


def test_ids_that_the_ledger_makes_have_their_format() -> None:
    ids = [
        found
        for found in ALL
        if re.fullmatch(r"id|.+_id", found.name)
        and is_text(found.schema)
        and found.name not in FREE_IDS
        and found.place.partition("/")[0] not in OF_PROBLEMS
        and not re.match(r"\w+Message/id|Delivery/id", found.place)
        and not re.search(r"\?correlation_id", found.place)
    ]
    assert len(ids) > 30
    assert [found.place for found in ids if found.schema.get("format") != "uuid"] == []


def test_a_union_says_how_its_forms_are_told_apart() -> None:
    unions = [found for found in ALL if "discriminator" in found.schema]
    assert {"Event", "KeyEvent", "WebhookMessage", "Operation"} <= {found.place for found in unions}
    for place, _, schema in unions:
        member, mapping = schema["discriminator"]["propertyName"], schema["discriminator"]["mapping"]
        assert {form["$ref"] for form in schema["oneOf"]} == set(mapping.values()), place
        for value, target in mapping.items():
            form = resolved({"$ref": target})
            assert value in values(form["properties"][member]) and member in form["required"], place


@pytest.mark.parametrize("name", [name for name, schema in SCHEMAS.items() if "title" in schema])
def test_a_union_without_such_a_member_has_forms_that_demand_different_members(name: str) -> None:
    schema = SCHEMAS[name]
    forms = [resolved(form) for form in schema.get("oneOf", schema.get("anyOf", ()))]
    if "discriminator" in schema or not forms:
        return
    for form in forms:
        others = {member for other in forms if other is not form for member in other["required"]}
        assert set(form["required"]) - others, name


def test_a_member_of_a_request_that_may_be_left_out_has_no_default() -> None:
    # Clients would write it, and then send another request than those that leave it out.
    assert [found.place for found in ALL if "default" in found.schema and "?" not in found.place] == []


def test_every_type_of_event_of_a_ledger_is_a_webhook() -> None:
    assert DOCUMENT["webhooks"].keys() == set(TYPES)
    for topic, operations in DOCUMENT["webhooks"].items():
        (content,) = operations["post"]["requestBody"]["content"].values()
        message = resolved(content["schema"])
        assert message["properties"]["type"] == {"type": "string", "const": topic}
        data = message["properties"]["data"]
        assert data["properties"]["type"] == {"type": "string", "const": topic}
        assert data["properties"]["payload"] == {"$ref": f"#/components/schemas/{payload_of(topic)}"}
        assert operations["post"]["description"] == resolved(data["properties"]["payload"])["description"]


def payload_of(topic: str) -> str:
    return "".join(word.capitalize() for word in re.split(r"[._]", topic)) + "Payload"
