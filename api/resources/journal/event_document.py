"""The events in the OpenAPI document: a schema for each type, with its payload.

A payload is described as this release records it. Members that releases before it did not record are not required: they
are the members that upcasts add.
"""

import inspect
from typing import Any, get_args

from msgspec.json import schema_components

from api.http.models.names import reference, union
from api.resources.journal.event_schemas import KEY_TYPES, TYPES, WITNESSED_TYPES
from domain.model.events import Event
from domain.model.installation.checkpoints import Basis, Decision
from domain.model.payouts.payout import Verdict
from domain.model.registry import EVENT_TYPES

_CHOICES = {"PayoutVerdict": Verdict, "WitnessBasis": Basis, "DisputeDecision": Decision}
"""The closed sets of words that only payloads have, by their names in the document."""


def camel_case(topic: str) -> str:
    """Return the beginning of the names of a type's schemas: `TransactionPosted` for `transaction.posted`."""
    return "".join(word.capitalize() for word in topic.replace(".", "_").split("_"))


def meaning(topic: str) -> str:
    """Return what happened when an event of a type was recorded."""
    return _first_paragraph(EVENT_TYPES[topic].__doc__ or "")


def _first_paragraph(text: str) -> str:
    # What follows in the code is for those who change it.
    return inspect.cleandoc(text).partition("\n\n")[0]


def with_events(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with `Event`, `KeyEvent` and `WitnessedEvent` as unions by `type`."""
    schemas = document["components"]["schemas"]
    for name, words in _CHOICES.items():
        schemas[name] = {"title": name, "type": "string", "enum": [*get_args(words)]}
    schemas |= _payloads(schemas)
    for name, topics in (("Event", TYPES), ("KeyEvent", KEY_TYPES), ("WitnessedEvent", WITNESSED_TYPES)):
        common = schemas[name]
        schemas |= {f"{camel_case(topic)}Event": _event(common, topic) for topic in topics}
        union_of = union("type", {topic: f"{camel_case(topic)}Event" for topic in topics})
        schemas[name] = {"title": name, "description": common["description"], **union_of}
    return document


def _event(common: dict[str, Any], topic: str) -> dict[str, Any]:
    payload = {"anyOf": [reference(f"{camel_case(topic)}Payload"), {"type": "null"}]}
    members = {**common["properties"], "type": {"type": "string", "const": topic}, "payload": payload}
    return {
        **common,
        "title": f"{camel_case(topic)}Event",
        "description": meaning(topic),
        "properties": members,
    }


def _payloads(schemas: dict[str, Any]) -> dict[str, Any]:
    """Return a schema for the payload of each type, and those of its parts."""
    names = {event_type.__name__: f"{camel_case(topic)}Payload" for topic, event_type in EVENT_TYPES.items()}
    choices = {frozenset(schema["enum"]): name for name, schema in schemas.items() if "enum" in schema}
    late = [_late_members(event_type) for event_type in EVENT_TYPES.values()]
    added = dict(zip(names, (members for members, _ in late), strict=True))
    added["PostedEntry"] = set().union(*(of_entries for _, of_entries in late))

    def shown(part: Any) -> Any:
        """Return a part of a schema with the names of this document."""
        if isinstance(part, list):
            return [shown(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "enum" in part:
            return reference(choices[frozenset(part["enum"])])
        if "$ref" in part:
            target: str = part["$ref"]
            return reference(names.get(target, target))
        return {key: shown(value) for key, value in part.items()}

    _, found = schema_components(EVENT_TYPES.values(), ref_template="{name}")
    payloads = {}
    for model, schema in found.items():
        members = {name: shown(member) for name, member in schema["properties"].items()}
        payloads[names.get(model, model)] = {
            "title": names.get(model, model),
            "type": "object",
            "description": _first_paragraph(schema.get("description", "")),
            "properties": members | ({"metadata": reference("Metadata")} if "metadata" in members else {}),
            "required": [name for name in schema["required"] if name not in added.get(model, ())],
        }
    return payloads


def _late_members(event_type: type[Event]) -> tuple[set[str], set[str]]:
    """Return the members that the upcasts of a type add to its payload, and to each of its entries."""
    entry: dict[str, Any] = {}
    payload: dict[str, Any] = {"entries": [entry]}
    for version in range(1, event_type.class_version):
        getattr(event_type, f"upcast_v{version}_v{version + 1}")(payload)
    return payload.keys() - {"entries"}, set(entry)
