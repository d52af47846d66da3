"""The request that a call of a tool asks for. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from api.client.bodies import encode
from api.client.paths import segment
from api.mcp.operations import DRY_RUN, IDEMPOTENCY_KEY, METADATA, Operation, Parameter

_OF_HEADERS = re.compile("[ -~]*")


class NotSent(Exception):
    """The call was refused here, and nothing was sent. Says why, and what to do."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request. `key` is its idempotency key, which is not among `headers`. `body` is None if it takes none."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    key: str | None = None

    @property
    def is_dry_run(self) -> bool:
        """Whether nothing is to be recorded."""
        return self.query.get(DRY_RUN) == "true"


def request_of(operation: Operation, arguments: Mapping[str, Any], *, may_write: bool) -> HttpRequest:
    """Return the request. Only what would make another request of it is judged here; the service judges the rest.

    Raises `NotSent`.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    _require_json(given)
    _require_known(operation, given)
    if not isinstance(given.get(DRY_RUN, False), bool):
        raise NotSent("dry_run must be true or false")
    if not (may_write or operation.is_read):
        given = _as_dry_run(operation, given)
    if operation.is_keyed and IDEMPOTENCY_KEY not in given:
        raise NotSent(
            "it needs an idempotency_key, so that it is carried out once however often it is sent. Keep one of your"
            f" own, such as the number of the order, or this new one: {uuid4()}"
        )
    headers = {
        parameter.name: _header(parameter, given[parameter.argument])
        for parameter in operation.parameters
        if parameter.place == "header" and parameter.argument in given
    }
    return HttpRequest(
        operation.method,
        _path(operation, given),
        dict(_query(operation, given)),
        headers,
        given.get("body", {}) if operation.body is not None else None,
        _unquoted(headers.pop("Idempotency-Key", None)),
    )


def _require_json(given: Mapping[str, Any]) -> None:
    try:
        encode(given)
    except ValueError:
        raise NotSent("a number is none of JSON's, or a text is none of Unicode's") from None


def _require_known(operation: Operation, given: Mapping[str, Any]) -> None:
    known = [parameter.argument for parameter in operation.parameters]
    if operation.body is not None:
        known.append("body")
    if unknown := given.keys() - known:
        names = ", ".join(sorted(name[:80] for name in unknown))
        raise NotSent(f"it has no argument {names}; its arguments are {', '.join(known) or 'none'}")


def _as_dry_run(operation: Operation, given: Mapping[str, Any]) -> dict[str, Any]:
    if not operation.has_dry_run:
        raise NotSent(
            "this server only reads, and this request has no dry run. Ask the person whom you work for to do it, or to"
            " start `tallystick mcp` with --allow-writes"
        )
    if not given.get(DRY_RUN, True):
        raise NotSent(
            "this server only reads. Call it with dry_run true to see what it would do. To have it done, ask the person"
            " whom you work for to do it, or to start `tallystick mcp` with --allow-writes"
        )
    return {**given, DRY_RUN: True}


def _path(operation: Operation, given: Mapping[str, Any]) -> str:
    path = operation.path
    for parameter in operation.parameters:
        if parameter.place == "path":
            text = _text(parameter.argument, given.get(parameter.argument, ""))
            # No escape keeps these apart from the path around them.
            if text in ("", ".", ".."):
                raise NotSent(f"{parameter.argument} must name something; {text!r} is no name")
            path = path.replace(f"{{{parameter.name}}}", segment(text))
    return path


def _query(operation: Operation, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for parameter in operation.parameters:
        value = given.get(parameter.argument)
        if parameter.place != "query" or value is None:
            continue
        if parameter.name != METADATA:
            yield parameter.name, _text(parameter.argument, value)
        elif isinstance(value, dict):
            for key, text in value.items():
                yield f"metadata.{key}", _text(f"metadata.{key}", text)
        else:
            raise NotSent("metadata must be an object of texts")


def _text(argument: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int):
        raise NotSent(f"{argument} must be a text or a whole number")
    return str(value)


def _header(parameter: Parameter, value: Any) -> str:
    text = _text(parameter.argument, value)
    if not _OF_HEADERS.fullmatch(text):
        raise NotSent(f"{parameter.argument} must be visible ASCII text in one line")
    return text


def _unquoted(key: str | None) -> str | None:
    """Return a key without the quotes that may be around it in a header: `"abc"` is the key `abc`."""
    return key[1:-1] if key and len(key) > 2 and key[0] == key[-1] == '"' else key
