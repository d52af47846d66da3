"""The tool that is made of each operation: its name, words, arguments and hints. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mcp_types import Tool, ToolAnnotations

from api.mcp.operations import DRY_RUN, IDEMPOTENCY_KEY, Operation

AT_AN_INCIDENT: Mapping[str, str] = {
    "What is wrong now, and what is safe to do about it?": "list_stuck",
    "What became of the request with this key, and what is safe to do?": "trace_operation",
    "May it be sent again?": "get_operation",
    "What happened under this correlation id?": "trace_conversation",
    "What did this account hold at a time?": "get_balance",
    "What is on this account now, or what was at a position?": "get_account",
    "What changed this account?": "list_entries",
    "How did this payout end?": "get_payout",
    "How far behind are the lists?": "list_projections",
    "What does this problem code mean?": "get_problem",
}
"""What is asked at an incident, and the tool that answers it. These tools are listed first."""

ONLY_DRY_RUN = (
    "This server was started without --allow-writes: only the dry run is carried out. Nothing is recorded."
)
REFUSED = "This server was started without --allow-writes, and there is no dry run: a call is refused, nothing is sent."
KEY_WORDS = (
    "Make it before the first call, keep it, and give the same one with every repetition: the same request under the"
    " same key is carried out once. "
)


def ordered(operations: Iterable[Operation]) -> list[Operation]:
    """Return the operations, those asked for at an incident first."""
    places = {name: place for place, name in enumerate(AT_AN_INCIDENT.values())}
    return sorted(operations, key=lambda operation: places.get(operation.name, len(places)))


def common_problems(operations: Iterable[Operation]) -> Sequence[str]:
    """Return the codes of problems that every operation for keys may answer with, in the document's order."""
    of_each = [operation.problems for operation in operations if operation.roles]
    return [code for code in of_each[0] if all(code in codes for codes in of_each)]


def tool(operation: Operation, common: Sequence[str], *, may_write: bool) -> Tool:
    """Return the tool of an operation. The problems in `common` are not repeated in its words."""
    changes = may_write and not operation.is_read
    return Tool(
        name=operation.name,
        title=operation.summary,
        description=_words(operation, common, may_write=may_write),
        input_schema=_input_schema(operation, may_write=may_write),
        annotations=ToolAnnotations(
            title=operation.summary,
            read_only_hint=not changes,
            destructive_hint=changes,
            # Other requests may be harmless when repeated, but the document does not promise it.
            idempotent_hint=not changes or operation.is_keyed or operation.method in ("PATCH", "DELETE"),
        ),
    )


def _words(operation: Operation, common: Sequence[str], *, may_write: bool) -> str:
    problems = [code for code in operation.problems if code not in common]
    lines = [
        f"{operation.summary}. {operation.description}",
        f"{operation.method} {operation.path}. Consistency: {operation.guarantee}.",
        f"For keys with the role {', '.join(operation.roles)}." if operation.roles else "Needs no role.",
    ]
    if problems:
        lines.append(f"Problems: {', '.join(problems)}.")
    if not (operation.is_read or may_write):
        lines.append(ONLY_DRY_RUN if operation.has_dry_run else REFUSED)
    return "\n".join(lines)


def _input_schema(operation: Operation, *, may_write: bool) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required = []
    for parameter in operation.parameters:
        schema = dict(parameter.schema)
        if parameter.argument == IDEMPOTENCY_KEY:
            schema["description"] = KEY_WORDS + schema["description"]
        if parameter.name == DRY_RUN and not may_write:
            schema |= {"const": True, "default": True}
        properties[parameter.argument] = schema
        if parameter.is_required:
            required.append(parameter.argument)
    if operation.body is not None:
        properties["body"] = operation.body
        if operation.is_body_required:
            required.append("body")
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
