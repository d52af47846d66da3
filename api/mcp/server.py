"""The server: says which tools and texts there are, and carries out calls, over standard input and output."""

import io
import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListResourcesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    TextContent,
    TextResourceContents,
)

from api.mcp.answers import Told, not_sent
from api.mcp.calls import ServiceCalls
from api.mcp.instructions import instructions
from api.mcp.operations import operations_of
from api.mcp.requests import NotSent, request_of
from api.mcp.standard_input import EndableInput
from api.mcp.tools import common_problems, ordered, tool

NAME = "tallystick"
_Context = ServerRequestContext[Any]


@dataclass(frozen=True, slots=True)
class Text:
    """A text that an assistant may read: its place is `tallystick://{name}`."""

    name: str
    description: str
    text: str

    @property
    def uri(self) -> str:
        """Its URI."""
        return f"{NAME}://{self.name}"


@dataclass(frozen=True, slots=True)
class Offer:
    """What is offered. The first of `texts` is the rules for whoever acts, which each assistant is told."""

    document: Mapping[str, Any]
    release: str
    texts: Sequence[Text]
    may_write: bool


def server_of(offer: Offer, calls: ServiceCalls) -> Server[Any]:
    """Return the server of an offer, which calls a service."""
    operations = ordered(operations_of(offer.document))
    common = common_problems(operations)
    by_name = {operation.name: operation for operation in operations}
    tools = [tool(operation, common, may_write=offer.may_write) for operation in operations]
    texts = {text.uri: text for text in offer.texts}

    async def list_tools(_: _Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=tools)

    async def call_tool(_: _Context, asked: CallToolRequestParams) -> CallToolResult:
        operation = by_name.get(asked.name)
        if operation is None:
            raise MCPError(INVALID_PARAMS, f"there is no tool {asked.name[:80]!r}")
        try:
            request = request_of(operation, asked.arguments or {}, may_write=offer.may_write)
        except NotSent as why:
            return _result(not_sent(str(why)))
        return _result(await calls.carry_out(operation, request))

    async def list_resources(_: _Context, __: PaginatedRequestParams | None) -> ListResourcesResult:
        return ListResourcesResult(resources=[_resource(text) for text in texts.values()])

    async def read_resource(_: _Context, asked: ReadResourceRequestParams) -> ReadResourceResult:
        text = texts.get(asked.uri)
        if text is None:
            raise MCPError(INVALID_PARAMS, f"there is no resource {asked.uri[:80]!r}")
        content = TextResourceContents(uri=text.uri, mime_type="text/markdown", text=text.text)
        return ReadResourceResult(contents=[content])

    return Server(
        NAME,
        version=offer.release,
        title="Tallystick",
        instructions=instructions(offer.texts[0].text, common, may_write=offer.may_write),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_read_resource=read_resource,
    )


def serve(offer: Offer, url: str, api_key: str, timeout_seconds: float) -> None:
    """Serve one assistant until it closes standard input, or SIGTERM or SIGINT comes.

    Calls that are under way then are given up: what became of one with a key, the key tells. Raises `BrokenPipeError`
    if nobody reads standard output any more.
    """
    source = EndableInput()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: source.end())
    try:
        anyio.run(_serve, offer, source, url, api_key, timeout_seconds)
    except BaseExceptionGroup as group:
        if group.subgroup(BrokenPipeError):
            raise BrokenPipeError from group
        raise


async def _serve(offer: Offer, source: EndableInput, url: str, api_key: str, timeout_seconds: float) -> None:
    lines = io.TextIOWrapper(io.BufferedReader(source), encoding="utf-8", errors="replace")
    shown = [name for name in offer.document["components"]["headers"] if name != "traceparent"]
    async with (
        ServiceCalls(url, api_key, timeout_seconds, shown) as calls,
        stdio_server(anyio.wrap_file(lines)) as (incoming, outgoing),
    ):
        server = server_of(offer, calls)
        try:
            await server.run(incoming, outgoing, server.create_initialization_options())
        finally:
            source.end()


def _result(told: Told) -> CallToolResult:
    content = told.content
    text = json.dumps(content, ensure_ascii=False)
    return CallToolResult(
        content=[TextContent(text=text)], structured_content=content, is_error=told.is_error
    )


def _resource(text: Text) -> Resource:
    return Resource(name=text.name, uri=text.uri, description=text.description, mime_type="text/markdown")
