"""The Postman collection has every operation of the OpenAPI document, ready to send."""

import json
from platform import python_version
from typing import Any

import pytest

from domain.journal.migrations import latest
from domain.release import RELEASE
from scripts.commands.developers.postman import FORMAT
from scripts.endings import DONE
from scripts.tallystick import application
from tests.commands import invoke


@pytest.fixture(scope="module")
def printed() -> tuple[dict[str, Any], dict[str, Any]]:
    """The document and the collection, as the command prints them."""
    app = application(["openapi", "doctor"])
    document, collection = (invoke(app, ["openapi", *options]) for options in ([], ["--postman"]))
    assert document.exit_code == collection.exit_code == DONE
    return json.loads(document.stdout), json.loads(collection.stdout)


def test_it_has_every_operation_once(printed: tuple[dict[str, Any], dict[str, Any]]) -> None:
    document, collection = printed
    requests = {
        item["id"]: (folder["name"], item["request"])
        for folder in collection["item"]
        for item in folder["item"]
    }
    operations = {
        operation["operationId"]: (path, method.upper(), operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert collection["info"]["schema"] == FORMAT
    assert requests.keys() == operations.keys()
    assert sum(len(folder["item"]) for folder in collection["item"]) == len(operations)
    for id, (path, method, operation) in operations.items():
        folder, request = requests[id]
        assert (folder, request["method"]) == (operation["tags"][0], method)
        assert request["url"]["raw"] == "{{url}}" + path.replace("{", ":").replace("}", "")
        assert ("body" in request) == ("requestBody" in operation)
        assert ("auth" in request) == (operation["security"] != [{"key": []}])
        sent = [*request["header"], *request["url"]["query"], *request["url"]["variable"]]
        assert len(sent) == len(operation["parameters"])
        if operation["security"] != [{"signature": []}]:  # nobody signs by hand
            assert all(each["value"] for each in sent if not each["disabled"]), id


def test_a_keyed_request_has_a_key_and_the_body_of_the_documents_example(
    printed: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    document, collection = printed
    (request,) = (
        item["request"]
        for folder in collection["item"]
        for item in folder["item"]
        if item["id"] == "post_transaction"
    )
    operation = document["paths"]["/v1/ledgers/{ledger}/transactions"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    assert json.loads(request["body"]["raw"]) in [example["value"] for example in examples.values()]
    (key,) = (header for header in request["header"] if header["key"] == "Idempotency-Key")
    assert key["value"] and not key["disabled"]


def test_the_version_names_release_python_and_schema() -> None:
    shown = invoke(application(["openapi", "doctor"]), ["--version"])
    assert shown.exit_code == DONE
    assert shown.stdout == f"tallystick {RELEASE}, Python {python_version()}, schema {latest()}\n"
