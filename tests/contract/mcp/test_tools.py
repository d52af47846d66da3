"""What an assistant finds: every operation of the document as a tool, honest hints, the rules and the texts."""

import re
from collections.abc import Iterator
from typing import Any

import httpx2
import jsonschema_rs
import pytest
from mcp.shared.exceptions import MCPError

from api.mcp.operations import LEFT_OUT, LEFT_OUT_HEADERS
from api.mcp.tools import AT_AN_INCIDENT
from domain.release import RELEASE
from tests.contract.mcp.assistants import Assistant, connected
from tests.contract.serving import Served


@pytest.fixture(scope="module")
def document(session_client: httpx2.Client) -> dict[str, Any]:
    """The document of the running service."""
    shown: dict[str, Any] = session_client.get("/openapi.json").json()
    return shown


def described(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_operation_is_a_tool_or_left_out_for_a_reason(
    document: dict[str, Any], reader: Assistant
) -> None:
    names = {operation["operationId"] for _, _, operation in described(document)}
    assert reader.tools().keys() == names - LEFT_OUT.keys()
    assert LEFT_OUT.keys() <= names and all(LEFT_OUT.values())


def test_every_parameter_is_an_argument_and_examples_are_accepted(
    document: dict[str, Any], writer: Assistant
) -> None:
    tools = writer.tools()
    for path, method, operation in described(document):
        tool = tools.get(operation["operationId"])
        if tool is None:
            continue
        schema = tool.input_schema
        names = {each["name"] for each in operation["parameters"]} - LEFT_OUT_HEADERS.keys()
        arguments = {name.lower().replace("-", "_") if name[0].isupper() else name for name in names}
        assert schema["properties"].keys() == arguments | ({"body"} if "requestBody" in operation else set())
        assert "$ref" not in str(schema) and tool.description
        assert method.upper() in tool.description and path in tool.description
        for role in operation["x-roles"]:
            assert role in tool.description
        for example in schema["properties"].get("body", {}).get("examples", ()):
            jsonschema_rs.validator_for(schema["properties"]["body"]).validate(example)


def test_requests_with_a_key_have_no_argument_that_the_client_does_not_send(writer: Assistant) -> None:
    sent = {"ledger", "id", "body", "dry_run", "idempotency_key", "prefer"}
    for tool in writer.tools().values():
        arguments = tool.input_schema["properties"].keys()
        assert "idempotency_key" not in arguments or arguments <= sent, tool.name


def test_without_writes_every_tool_says_that_it_changes_nothing(reader: Assistant) -> None:
    for tool in reader.tools().values():
        assert tool.annotations and tool.annotations.read_only_hint is True, tool.name
        assert tool.annotations.destructive_hint is False
    dry = {name for name, tool in reader.tools().items() if "dry_run" in tool.input_schema["properties"]}
    assert dry == {
        *("post_transaction", "post_batch", "settle_hold", "void_hold", "reverse_transaction"),
        *("request_payout", "retry_dead_letter"),
    }
    for name in dry:
        assert reader.tools()[name].input_schema["properties"]["dry_run"]["const"] is True


def test_with_writes_the_hints_tell_what_changes_and_what_may_be_repeated(
    document: dict[str, Any], writer: Assistant
) -> None:
    tools = writer.tools()
    for _, method, operation in described(document):
        if tool := tools.get(operation["operationId"]):
            hints = tool.annotations
            assert hints and hints.title == operation["summary"]
            assert hints.read_only_hint is (method == "get") is not hints.destructive_hint
    repeatable = {
        name
        for name, tool in tools.items()
        if tool.annotations and tool.annotations.idempotent_hint and not tool.annotations.read_only_hint
    }
    assert repeatable == {
        *("post_transaction", "settle_hold", "void_hold", "reverse_transaction", "request_payout"),
        *("change_account", "revoke_key", "delete_webhook"),
    }
    for name in ("post_transaction", "request_payout"):
        assert "idempotency_key" in tools[name].input_schema["required"]


def test_who_connects_is_told_the_rules_and_what_to_ask_first(
    client: httpx2.Client, reader: Assistant, writer: Assistant
) -> None:
    rules = client.get("/llms.txt").text
    for assistant, words in ((reader, "This server only reads."), (writer, "This server may write")):
        told = assistant.client.instructions
        assert told and told.startswith(rules) and words in told
        assert set(re.findall(r"\? `(\w+)`", told)) == set(AT_AN_INCIDENT.values())
        assert list(assistant.tools())[: len(AT_AN_INCIDENT)] == list(AT_AN_INCIDENT.values())
    assert reader.client.server_info and reader.client.server_info.version == RELEASE


def test_the_rules_the_glossary_and_the_runbook_can_be_read(client: httpx2.Client, reader: Assistant) -> None:
    texts = reader.texts()
    assert list(texts) == ["tallystick://rules", "tallystick://glossary", "tallystick://runbook"]
    assert texts["tallystick://rules"] == client.get("/llms.txt").text
    assert "payout `in_doubt`: in doubt. Nobody knows yet" in texts["tallystick://glossary"]
    assert "`payout_contradictory`" in texts["tallystick://runbook"]
    for uri in ("tallystick://../keys", "file:///etc/passwd", "tallystick://"):
        with pytest.raises(MCPError, match="there is no resource"):
            reader.text(uri)


def test_an_assistant_of_the_newer_protocol_finds_the_same(served: Served, reader: Assistant) -> None:
    with connected(served.url, mode="auto") as assistant:
        assert assistant.client.protocol_version > reader.client.protocol_version
        assert assistant.tools() == reader.tools()
        assert assistant.call("get_liveness")["outcome"] == "read"


def test_a_tool_that_is_not_there(reader: Assistant) -> None:
    with pytest.raises(MCPError, match="there is no tool 'get_documentation'"):
        reader.call("get_documentation")
