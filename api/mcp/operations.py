"""The operations of the OpenAPI document, as the tools need them. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

LEFT_OUT: Mapping[str, str] = {
    "receive_callback": "a payment provider calls it and signs with its own secret; an API key does not count",
    "get_document": "the tools are made from it",
    "get_documentation": "a page for people; the tools say the same",
    "get_documentation_asset": "a file of the page for people",
    "get_rules_for_models": "the server says it to each assistant that connects, and has it as a resource",
}
"""The operations that are no tools, and why. Every other operation of the document is one."""

LEFT_OUT_HEADERS: Mapping[str, str] = {
    "Correlation-Id": "the service makes one for each request, and the answer has it",
    "traceparent": "the service makes one for each request",
    "If-None-Match": "an answer without content tells an assistant nothing",
}
"""The headers of requests that are no arguments, and why."""

METADATA = "metadata"
"""The parameter that stands for any number of filters `metadata.KEY`. The tools name each key alone."""

IDEMPOTENCY_KEY = "idempotency_key"
DRY_RUN = "dry_run"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter. `place` is `path`, `query` or `header`; `argument` is what the tools call it."""

    name: str
    place: str
    is_required: bool
    schema: Mapping[str, Any]

    @property
    def argument(self) -> str:
        """The name of the tool's argument."""
        return self.name.lower().replace("-", "_") if self.place == "header" else self.name


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation. `makes` is the name of the schema of what it answers, None if it is not JSON of the document."""

    name: str
    method: str
    path: str
    summary: str
    description: str
    parameters: tuple[Parameter, ...]
    body: Mapping[str, Any] | None
    is_body_required: bool
    makes: str | None
    roles: tuple[str, ...]
    consistency: str
    guarantee: str
    problems: tuple[str, ...]

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET"

    @property
    def has_dry_run(self) -> bool:
        """Whether the service can decide it without recording anything."""
        return any(parameter.name == DRY_RUN for parameter in self.parameters)

    @property
    def is_keyed(self) -> bool:
        """Whether it needs an idempotency key."""
        return any(parameter.argument == IDEMPOTENCY_KEY for parameter in self.parameters)


def operations_of(document: Mapping[str, Any]) -> Iterator[Operation]:
    """Yield the operations that are tools, in the document's order."""
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            if described["operationId"] not in LEFT_OUT:
                yield _operation(method.upper(), path, described, schemas)


def _operation(method: str, path: str, described: Mapping[str, Any], schemas: Mapping[str, Any]) -> Operation:
    requested = described.get("requestBody", {})
    responses: Mapping[str, Any] = described["responses"]
    consistency = described["x-consistency"]
    return Operation(
        name=described["operationId"],
        method=method,
        path=path,
        summary=described["summary"],
        description=described["description"],
        parameters=tuple(
            _parameter(parameter, schemas)
            for parameter in described["parameters"]
            if parameter["name"] not in LEFT_OUT_HEADERS
        ),
        body=_body(requested, schemas) if requested else None,
        is_body_required=requested.get("required", False),
        makes=_makes(responses),
        roles=tuple(described["x-roles"]),
        consistency=consistency["class"],
        guarantee=consistency["guarantee"],
        problems=tuple(_problems(responses)),
    )


def _parameter(described: Mapping[str, Any], schemas: Mapping[str, Any]) -> Parameter:
    schema = inlined(described["schema"], schemas)
    if described["name"] == METADATA:
        schema = {"type": "object", "additionalProperties": schema["additionalProperties"]}
    if words := described.get("description"):
        schema = {**schema, "description": words}
    return Parameter(described["name"], described["in"], described["required"], schema)


def _body(requested: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    content = requested["content"]["application/json"]
    examples = [example["value"] for example in content.get("examples", {}).values()]
    return {**inlined(content["schema"], schemas), "examples": examples}


def _makes(responses: Mapping[str, Any]) -> str | None:
    """Return the name of the schema of the first answer of success."""
    for status, response in responses.items():
        if status.startswith("2"):
            schema = response.get("content", {}).get("application/json", {}).get("schema", {})
            return schema["$ref"].rpartition("/")[2] if "$ref" in schema else None
    return None


def _problems(responses: Mapping[str, Any]) -> Iterator[str]:
    for response in responses.values():
        yield from response.get("content", {}).get("application/problem+json", {}).get("examples", {})


def inlined(schema: Any, schemas: Mapping[str, Any]) -> Any:
    """Return a schema with each reference replaced by what it names, and without titles, which repeat the names.

    Not every assistant follows references. No schema of a request contains itself.
    """
    match schema:
        case {"$ref": str(reference), **beside}:
            return {**inlined(schemas[reference.rpartition("/")[2]], schemas), **inlined(beside, schemas)}
        case dict():
            return {
                name: inlined(part, schemas)
                for name, part in schema.items()
                if not (name == "title" and isinstance(part, str))
            }
        case list():
            return [inlined(part, schemas) for part in schema]
        case _:
            return schema
