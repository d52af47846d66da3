"""An assistant: the Model Context Protocol's own client, connected to `tallystick mcp` over its standard streams."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import CallToolResult, TextContent, TextResourceContents, Tool

from tests.contract.serving import KEY
from tests.service import ROOT

PATIENCE_SECONDS = 60.0
COMMAND = [sys.executable, "-m", "scripts.tallystick", "mcp"]


class Assistant:
    """An assistant that has connected. Every answer it gets says the same as text and as structure."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self._portal, self.client = portal, client

    def tools(self) -> dict[str, Tool]:
        """Return the tools, in their order, by name."""
        return {tool.name: tool for tool in self._portal.call(self.client.list_tools).tools}

    def answer(self, tool: str, **arguments: Any) -> CallToolResult:
        """Call a tool and return its answer."""
        result: CallToolResult = self._portal.call(self.client.call_tool, tool, arguments)
        (content,) = result.content
        assert isinstance(content, TextContent)
        assert json.loads(content.text) == result.structured_content
        return result

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return what its answer says."""
        told: dict[str, Any] = self.answer(tool, **arguments).structured_content
        return told

    def texts(self) -> dict[str, str]:
        """Return the texts that it may read, by their URIs."""
        listed = self._portal.call(self.client.list_resources).resources
        return {resource.uri: self.text(resource.uri) for resource in listed}

    def text(self, uri: str) -> str:
        """Return a text that it may read."""
        (content,) = self._portal.call(self.client.read_resource, uri).contents
        assert isinstance(content, TextResourceContents)
        return content.text


@contextmanager
def connected(url: str, *options: str, key: str = KEY, mode: str = "legacy") -> Iterator[Assistant]:
    """Start `tallystick mcp` and connect an assistant to it. `mode` is how they agree on the protocol's version."""
    server = StdioServerParameters(
        command=COMMAND[0],
        args=[*COMMAND[1:], "--url", url, *options],
        env={"TALLYSTICK_KEY": key},
        cwd=ROOT,
    )
    client = Client(server, mode=mode, read_timeout_seconds=PATIENCE_SECONDS)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(client):
        yield Assistant(portal, client)
