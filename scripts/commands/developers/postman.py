"""A Postman collection (format 2.1) made from the OpenAPI document.

It has one request for each operation, in a folder for each tag.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

FORMAT = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
VARIABLES = {"url": "http://127.0.0.1:8000", "key": ""}
"""The variables of the collection: where the service is, and the API key, which whoever imports it fills in."""

_NAME = re.compile(r"{(\w+)}")


def collection(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the collection. Every request has the examples of the document; optional parameters are switched off."""
    folders: dict[str, list[dict[str, Any]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            folders.setdefault(operation["tags"][0], []).append(_request(path, method.upper(), operation))
    info = document["info"]
    return {
        "info": {"name": info["title"], "description": info["description"], "schema": FORMAT},
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{key}}", "type": "string"}]},
        "variable": [{"key": name, "value": value} for name, value in VARIABLES.items()],
        "item": [{"name": tag, "item": requests} for tag, requests in folders.items()],
    }


def _request(path: str, method: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    request: dict[str, Any] = {
        "method": method,
        "description": operation["description"],
        "url": _url(path, operation),
        "header": list(_parameters(operation, "header")),
    }
    if {"key": []} not in operation["security"]:
        request["auth"] = {"type": "noauth"}
    if body := operation.get("requestBody"):
        example = _first(body["content"]["application/json"]["examples"])
        raw = json.dumps(example, indent=2, ensure_ascii=False)
        request["body"] = {"mode": "raw", "raw": raw, "options": {"raw": {"language": "json"}}}
    return {"name": operation["summary"], "id": operation["operationId"], "request": request}


def _url(path: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    path = _NAME.sub(r":\1", path)
    return {
        "raw": "{{url}}" + path,
        "host": ["{{url}}"],
        "path": path.removeprefix("/").split("/"),
        "query": list(_parameters(operation, "query")),
        "variable": list(_parameters(operation, "path")),
    }


def _parameters(operation: Mapping[str, Any], place: str) -> Iterator[dict[str, Any]]:
    """Yield the parameters of a place: `path`, `query` or `header`."""
    for parameter in operation["parameters"]:
        if parameter["in"] == place:
            is_object = parameter.get("explode", False)  # each of its members is a parameter of its own
            shown = parameter["example"] if is_object else {parameter["name"]: _example(parameter)}
            for name, value in shown.items():
                yield {
                    "key": name,
                    "value": value,
                    "description": parameter.get("description", ""),
                    "disabled": not parameter.get("required", False),
                }


def _example(parameter: Mapping[str, Any]) -> str:
    if "example" in parameter:
        return str(parameter["example"])
    if "examples" in parameter:
        return str(_first(parameter["examples"]))
    schema = parameter["schema"]
    known = [*schema.get("examples", ()), schema.get("default"), schema.get("minimum")]
    return next((str(value) for value in known if value is not None), "")


def _first(examples: Mapping[str, Any]) -> Any:
    """Return the value of the first of the document's named examples."""
    return next(iter(examples.values()))["value"]
