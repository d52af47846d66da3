"""Every command and request that an operator is advised to use exists in the place where it would be used."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

from api.resources import ENDPOINTS
from projections.diagnosis.remedies import _OF_OTHERS, SAFE, Remedy, command_on, resource_on, safe_to_do
from projections.diagnosis.stuck.catalogue import CATALOGUE as STUCK
from scripts.calls import EXAMPLES, as_called
from scripts.commands.replay.old_flags import WITHOUT_SUBCOMMAND
from scripts.doctor.catalogue import CATALOGUE
from scripts.doctor.finding import Finding, words_of
from scripts.tallystick import COMMANDS, application

ROOT = Path(__file__).parent.parent.parent
ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
RESOURCES = {
    "payouts": f"/v1/ledgers/main/payouts/{ID}",
    "transactions": f"/v1/ledgers/main/transactions/{ID}",
    "webhooks": f"/v1/webhooks/{ID}",
    "deliveries": f"/v1/webhooks/{ID}/deliveries/7",
    "dead-letters": f"/v1/dead-letters/{ID}",
    "projections": "/v1/projections/entries",
    "nats": "/v1/projections/nats",
    "ledgers": "/v1/ledgers/main",
}
RESOURCES_OF = {
    "end_hold": ["transactions"],
    "ask_provider": ["payouts"],
    "resolve_payout": ["payouts"],
    "decide_dead_letter": ["dead-letters"],
    "mend_projection": ["projections", "nats"],
    "resume_projection": ["projections", "nats"],
    "restart_projector": ["projections", "nats"],
    "start_projector": ["projections", "nats"],
    "retry_delivery": ["deliveries"],
    "enable_webhook": ["webhooks"],
    "finish_move": ["ledgers"],
    "finish_or_cancel_move": ["ledgers"],
}
"""The kinds of resources a remedy is for, if it is not for all but ledgers."""
OF_ALL = [name for name in RESOURCES if name != "ledgers"]
FILLED = {
    "id": ID,
    "ledger": "main",
    "installation": "west",
    "name": "entries",
    "names": "entries balances",
    "pid": "7",
    "index": "events_pkey",
    "table": "stored_events",
    "trigger": "events_are_never_changed",
    "privilege": "UPDATE",
    "role": "tallystick_service",
    "schema": "tallystick",
    "login": "somebody",
    "gid": "'gid'",
    "slot": "'slot'",
    "stream": "'main/accounts/a'",
    "sender": "main",
    "receiver": "west",
}
STATEMENT = re.compile(
    r"(ALTER|ANALYZE|DELETE FROM|GRANT|REINDEX|REVOKE|ROLLBACK PREPARED|SELECT|VACUUM) ?[^;]*;", re.ASCII
)
APP: Any = typer.main.get_command(application())


def parse(command: str, *, whole: bool = True) -> None:
    """Parse a command as the shell and the program would, without running it.

    If the command is only named in part, missing arguments are ignored.
    """
    program, *arguments = shlex.split(command)
    assert program == "tallystick"
    found = APP
    if arguments == ["--version"]:
        assert any("--version" in option.opts for option in APP.params)
        return
    while hasattr(found, "commands") and arguments:
        name = arguments.pop(0)
        if name not in found.commands and WITHOUT_SUBCOMMAND in found.commands:
            arguments.insert(0, name)
            name = WITHOUT_SUBCOMMAND
        assert name in found.commands, f"there is no {name} in `{command}`"
        found = found.commands[name]
    if not whole and (not arguments or hasattr(found, "commands")):
        return
    refusal = refused(found, arguments)
    assert refusal is None or (refusal == "MissingParameter" and not whole), f"`{command}`: {refusal}"


def refused(found: Any, arguments: list[str]) -> str | None:
    """Why a command refuses its arguments. None if it accepts them. A hidden option is an old spelling."""
    try:
        context = found.make_context(found.name, arguments)
    except Exception as error:  # noqa: BLE001 - of whichever class
        return type(error).__name__
    hidden = [param for param in found.params if getattr(param, "hidden", False)]
    return next((f"{param.opts[0]} is old" for param in hidden if context.params[param.name]), None)


def commands_in(words: str) -> list[str]:
    return [found[1] for found in re.finditer(r"`(tallystick [^`]+)`", words)]


def is_served(method: str, path: str) -> bool:
    """Whether a request has a route."""
    for endpoint in ENDPOINTS:
        declared = endpoint.declared
        pattern = re.sub(r"\{[^}]+\}", "[^/]+", declared.path)
        if declared.method == method and re.fullmatch(pattern, path):
            return True
    return False


def requests_in(words: str) -> list[tuple[str, str]]:
    found = re.findall(r"\b(GET|POST|PUT|PATCH|DELETE) (/v1/[^\s`;:?\"]+)", words)
    return [(method, path.rstrip(".,)")) for method, path in found]


@pytest.mark.parametrize("resource", RESOURCES.values(), ids=RESOURCES)
@pytest.mark.parametrize("remedy", get_args(Remedy))
def test_what_is_safe_to_do_can_be_done(remedy: Remedy, resource: str) -> None:
    if resource not in [RESOURCES[name] for name in RESOURCES_OF.get(remedy, OF_ALL)]:
        return  # no advice uses this kind
    for installation in (None, "west"):
        words = safe_to_do(remedy, resource, installation, "west")
        assert "…" not in words and "{" not in words and words.endswith(".")
        assert not re.search(r"\b(ID|LEDGER|POSITION)\b", words)
        for command in commands_in(words):
            parse(command)
        for method, path in requests_in(words):
            assert is_served(method, path), (method, path)


def test_what_is_done_in_a_placement_names_the_installation() -> None:
    resource = resource_on("/v1/projections/entries", "west")
    assert resource == "/v1/projections/entries?installation=west"
    words = safe_to_do("mend_projection", resource, "west")
    assert "`tallystick doctor --installation west`" in words
    assert "`tallystick replay entries --installation west`" in words
    assert "POST /v1/projections/entries/rebuild?installation=west." in words
    assert "`tallystick serve` runs" in safe_to_do("start_projector", resource, "west")
    # A request that is found by its id need not name it.
    letter = resource_on(RESOURCES["dead-letters"], "west")
    assert letter == RESOURCES["dead-letters"]
    assert f"POST {letter}/retry." in safe_to_do("decide_dead_letter", letter, "west")


def test_every_kind_of_stuck_is_told_what_to_do_in_its_own_words() -> None:
    assert {kind.remedy for kind in STUCK.values()} <= set(SAFE)
    waiting = safe_to_do("wait", RESOURCES["webhooks"])
    assert "same key" not in waiting and f"tallystick webhooks deliveries {ID}" in waiting
    assert "same key" not in safe_to_do("wait", RESOURCES["projections"])
    assert "tallystick publish" in safe_to_do("start_projector", RESOURCES["nats"])
    assert "tallystick project`" not in safe_to_do("start_projector", RESOURCES["nats"])
    hanging = safe_to_do("restart_projector", RESOURCES["projections"])
    assert hanging.startswith("Restart") and "`tallystick projections restart entries`" in hanging
    assert {remedy for remedy, _ in _OF_OTHERS} <= set(SAFE)


@pytest.mark.parametrize("code", CATALOGUE)
def test_what_the_doctor_advises_can_be_done(code: str) -> None:
    kind = CATALOGUE[code]
    assert set().union(*(words_of(command) for command in kind.commands)) <= FILLED.keys()
    finding = Finding(code, "found", subjects=(FILLED,))
    assert len(finding.commands) == len(kind.commands)
    for command in finding.commands:
        if command.startswith("tallystick "):
            parse(command)
            parse(command_on(command, "west"))
        else:
            assert command_on(command, "west") == command

            assert STATEMENT.fullmatch(command), command
        assert f"`{command}`" in finding.remedy
    for command in commands_in(kind.remedy):
        parse(command, whole=False)
    for method, path in requests_in(f"{kind.remedy} {kind.why}"):
        assert is_served(method, path), (method, path)


def test_an_old_spelling_is_no_remedy() -> None:
    parse("tallystick replay entries --reason x")
    with pytest.raises(AssertionError, match="--pause is old"):
        parse("tallystick replay entries --pause")


def test_every_command_has_an_example_that_can_be_called() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()
    for name, example in EXAMPLES.items():
        assert example.split()[:2] == ["tallystick", name]
        parse(example)


def texts(path: Path) -> Iterator[str]:
    """The texts of a module, with a placeholder for each value that is filled in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_whatever_command_is_named_anywhere_exists() -> None:
    named = {
        command
        for folder in ("domain", "projections", "api", "scripts")
        for path in (ROOT / folder).rglob("*.py")
        for text in texts(path)
        for command in commands_in(" ".join(text.split()))
    }
    assert len(named) > 30
    for command in named:
        if "{" not in command:
            parse(command.replace("…", ""), whole=False)


def test_whatever_request_is_named_in_a_remedy_exists() -> None:
    for path in (ROOT / "scripts").rglob("*.py"):
        for text in texts(path):
            for method, named in requests_in(text):
                if "{" not in named and "bench" not in path.parts:
                    assert is_served(method, named), (path, method, named)


def test_what_is_pasted_begins_as_this_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://me:secret@db/books?application_name=x"
    monkeypatch.setattr("sys.argv", ["/opt/bin/tallystick", "doctor", "--schema=two", "--data-dir", "a b"])
    assert as_called("tallystick stuck") == "/opt/bin/tallystick stuck --schema two --data-dir 'a b'"
    assert as_called("SELECT 1;") == "SELECT 1;"
    monkeypatch.setattr("sys.argv", ["tallystick", "doctor", "--database-url", url])
    assert as_called("tallystick stuck") == 'tallystick stuck --database-url "$TALLYSTICK_DATABASE_URL"'
    monkeypatch.setattr("sys.argv", ["tallystick", "doctor", "--database-url", "postgresql:///books?a=b"])
    assert as_called("tallystick stuck") == "tallystick stuck --database-url 'postgresql:///books?a=b'"


@pytest.mark.parametrize(
    "page",
    ["README.md", *(f"{wing}/README.md" for wing in ("api", "projections", "scripts")), "scripts/BACKUP.md"],
)
def test_whatever_command_is_named_in_a_page_exists(page: str) -> None:
    """Commands of a page that stand alone, with the words in capitals and the dots filled in."""
    words = {
        "COMMAND": "doctor",
        "NAME": "entries",
        "ID": ID,
        "POSITION": "7",
        "N": "8",
        "KEY": "key-1",
        "NOTE": __file__,
        "PROOF": __file__,
    }
    for command in commands_in((ROOT / page).read_text(encoding="utf-8")):
        stated = command.split(" > ")[0].removesuffix(" --help")
        filled = re.sub(r"\b[A-Z]+\b", lambda found: words.get(found[0], found[0]), stated)
        parse(filled.replace("…", "x").replace("\\|", "|").partition("[")[0], whole=False)
