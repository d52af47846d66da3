"""`tallystick keys`, on the database itself and beside a running service."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg import Connection
from typer.testing import Result

from api.security.keys import ROLE_MEANINGS, ROLES, Role, digest_of, ensure_bootstrap_key, find_key
from domain.journal.database import Database
from domain.model.events import Context
from domain.model.ledgers import OpenLedger
from scripts.commands.installation import operator
from scripts.commands.keys import keys
from tests.commands import invoke
from tests.ledgers import running
from tests.service import ROOT, serving

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def run(database: Database, *arguments: str) -> Result:
    """Run `tallystick keys` on a database."""
    options = ["--database-url", database.url, "--schema", database.schema]
    return invoke(keys, [*arguments, *options])


def made(database: Database, *options: str) -> str:
    """Make a key and return standard output: the key alone."""
    result = run(database, "make", "shop", *options)
    assert result.exit_code == 0, result.output
    return result.stdout.removesuffix("\n")


def listed(database: Database) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = json.loads(run(database, "list", "--json").stdout)
    return keys


def found(database: Database, key: str) -> Any:
    with database.connect("test keys") as connection:
        return find_key(connection, digest_of(key))


def test_a_key_is_printed_alone_and_once(database: Database) -> None:
    result = run(
        database, "make", "shop", "--role", "client", "--role", "auditor", "--ledger-to-come", "main"
    )
    assert result.exit_code == 0
    key = result.stdout.removesuffix("\n")
    assert key.startswith("tk_") and len(key) == 46
    seen = found(database, key)
    assert seen[1:4] == ("shop", ("client", "auditor"), ("main",))
    assert str(seen.id) in result.stderr
    assert key not in result.stderr
    for listing in (["list"], ["list", "--json"]):
        assert key not in run(database, *listing).output


@pytest.mark.parametrize(("options", "ledgers"), [([], ()), (["--ledger", "*"], ("*",))])
def test_no_ledger_and_every_ledger(database: Database, options: list[str], ledgers: tuple[str, ...]) -> None:
    assert found(database, made(database, "--role", "operator", *options)).ledgers == ledgers


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["make"], "name"),
        (["make", "shop"], "--role"),
        (["make", "", "--role", "client"], "NAME"),
        (["make", "x" * 256, "--role", "client"], "NAME"),
        (["make", "\udc80", "--role", "client"], "NAME"),
        (["make", "shop", "--role", "king"], "--role"),
        (["make", "shop", "--role", "client", "--ledger", "A"], "--ledger"),
        (["make", "shop", "--role", "client", "--ledger-to-come", "*"], "--ledger-to-come"),
        (["make", "shop", "--role", "client"], "--ledger"),
        (["make", "shop", "--role", "poster", "--role", "auditor"], "--ledger"),
        (["make", "shop", "--role", "client", "--ledger", "nowhere"], "--ledger-to-come nowhere"),
        (["make", "bootstrap", "--role", "auditor"], "NAME"),
        (["make", "provider:simulator", "--role", "auditor"], "NAME"),
        (["make", "bridge:main", "--role", "auditor"], "NAME"),
        (["make", "\x1b[2Jshop", "--role", "auditor"], "NAME"),
        (["make", "root at a terminal", "--role", "auditor"], "NAME"),
        (["list", "--state", "dead"], "--state"),
        (["rotate", "nonsense"], "id"),
        (["rotate", str(uuid4()), "--overlap-seconds", "-1"], "--overlap-seconds"),
        (["rotate", str(uuid4()), "--overlap-seconds", "2592001"], "--overlap-seconds"),
        (["rotate", str(uuid4()), "--overlap-seconds", "1.5"], "--overlap-seconds"),
        (["revoke", "nonsense"], "id"),
    ],
)
def test_bad_input_is_named(database: Database, arguments: list[str], named: str) -> None:
    result = run(database, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert named in result.stderr
    assert listed(database) == []


def test_the_list_shows_every_key_and_what_became_of_it(database: Database) -> None:
    for name in ("first", "second", "third"):
        assert run(database, "make", name, "--role", "client", "--ledger-to-come", "main").exit_code == 0
    first, second, third = listed(database)
    assert [key["name"] for key in (first, second, third)] == ["first", "second", "third"]
    assert set(first) == {
        "id",
        "name",
        "roles",
        "ledgers",
        "created_at",
        "valid_until",
        "created_by",
        "revoked_at",
        "revoked_by",
        "state",
    }
    run(database, "revoke", first["id"])
    run(database, "rotate", second["id"], "--overlap-seconds", "3600")
    lines = run(database, "list").stdout.splitlines()
    assert lines[0].split() == list(first)
    assert [line.split()[1] for line in lines[1:]] == ["first", "second", "third", "second"]
    assert [line.split()[-1] for line in lines[1:]] == ["revoked", "active", "active", "active"]
    (revoked,) = (key for key in listed(database) if key["state"] == "revoked")
    assert revoked["revoked_by"] == revoked["created_by"] == operator().actor
    assert revoked["revoked_at"] > revoked["created_at"]
    assert len(run(database, "list", "--state", "active").stdout.splitlines()) == 4


def test_a_name_of_an_older_release_cannot_steer_the_terminal(
    database: Database, owner: Connection[Any]
) -> None:
    run(database, "make", "shop", "--role", "auditor")
    owner.execute("UPDATE api_keys SET name = %s", ("\x1b[2Jshop\n",))
    shown = run(database, "list").stdout
    assert "\x1b" not in shown and len(shown.splitlines()) == 2
    assert listed(database)[0]["name"] == "\x1b[2Jshop\n"


def test_a_name_is_given_once_at_a_time(database: Database) -> None:
    made(database, "--role", "auditor")
    again = run(database, "make", "SHOP", "--role", "auditor")
    assert (again.exit_code, again.stdout) == (3, "")
    assert "NAME" in again.stderr
    run(database, "revoke", listed(database)[0]["id"])
    made(database, "--role", "auditor")


def test_a_ledger_that_exists_is_granted(database: Database) -> None:
    with running(database) as ledger:
        ledger.perform(OpenLedger(Context("test", "conversation-1"), "main", {}))
    key = made(database, "--role", "poster", "--ledger", "main", "--ledger-to-come", "next")
    assert found(database, key)[2:4] == (("poster",), ("main", "next"))


def test_what_is_done_is_recorded_in_the_name_of_the_user(database: Database, owner: Connection[Any]) -> None:
    key = made(database, "--role", "auditor")
    id = listed(database)[0]["id"]
    run(database, "rotate", id)
    run(database, "revoke", id)
    events = owner.execute("SELECT type, actor, ledger, stream FROM journal ORDER BY position").fetchall()
    by = operator().actor
    assert [event[:3] for event in events] == [
        (topic, by, None) for topic in ("key.made", "key.made", "key.rotated", "key.revoked")
    ]
    assert [event[3] == f"-/keys/{id}" for event in events] == [True, False, True, True]
    rows = owner.execute("SELECT state FROM events").fetchall()
    assert not any(key.encode() in row[0] or digest_of(key).hex().encode() in row[0] for row in rows)


@pytest.mark.parametrize("role", ROLES)
def test_roles_are_explained_where_they_are_chosen(role: Role) -> None:
    shown = " ".join(invoke(keys, ["make", "--help"], COLUMNS="200").output.split())
    assert f"{role}: {ROLE_MEANINGS[role]}"[:60] in shown


def test_a_rotated_key_is_printed_alone_and_the_old_one_ends(database: Database) -> None:
    old = made(database, "--role", "client", "--ledger-to-come", "main")
    id = listed(database)[0]["id"]
    overlapping = run(database, "rotate", id, "--overlap-seconds", "3600")
    assert overlapping.exit_code == 0
    assert found(database, old).valid_until is not None
    at_once = run(database, "rotate", id)
    assert found(database, old) is None
    for result in (overlapping, at_once):
        new = found(database, result.stdout.removesuffix("\n"))
        assert new[1:4] == ("shop", ("client",), ("main",))
        assert id in result.stderr


def test_a_revoked_key_is_none(database: Database) -> None:
    key = made(database, "--role", "auditor")
    id = listed(database)[0]["id"]
    for _ in range(2):
        result = run(database, "revoke", id)
        assert (result.exit_code, result.stdout) == (0, "")
    assert found(database, key) is None


@pytest.mark.parametrize("command", ["rotate", "revoke"])
def test_a_key_that_is_not_there_is_said_so(database: Database, command: str) -> None:
    id = str(uuid4())
    result = run(database, command, id)
    assert (result.exit_code, result.stdout) == (3, "")
    assert id in result.stderr


def test_the_bootstrap_key_is_not_rotated_and_why(database: Database) -> None:
    ensure_bootstrap_key(database, None)
    result = run(database, "rotate", listed(database)[0]["id"])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "TALLYSTICK_BOOTSTRAP_KEY" in result.stderr


@pytest.mark.parametrize(
    "arguments", [["make", "shop", "--role", "auditor"], ["list"], ["rotate", str(uuid4())]]
)
def test_a_database_that_cannot_be_used_is_said_so(
    empty_database: Database, tmp_path: Path, arguments: list[str]
) -> None:
    empty = run(empty_database, *arguments)
    assert (empty.exit_code, empty.stdout) == (3, "")
    assert "tallystick migrate" in empty.stderr
    absent = run(Database(f"postgresql://nobody@/none?host={tmp_path}"), *arguments)
    assert (absent.exit_code, absent.stdout) == (3, "")
    assert "out of reach" in absent.stderr
    nowhere = invoke(keys, [*arguments, "--data-dir", str(tmp_path / "absent")])
    assert (nowhere.exit_code, nowhere.stdout) == (3, "")
    assert not (tmp_path / "absent").exists()


def test_a_database_of_the_release_before_is_said_so(database: Database, owner: Connection[Any]) -> None:
    owner.execute("DROP VIEW valid_api_keys; ALTER TABLE api_keys DROP COLUMN valid_until")
    result = run(database, "make", "shop", "--role", "auditor")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "tallystick migrate" in result.stderr


def tallystick(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "scripts.tallystick", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=60)


def test_beside_a_running_service_with_an_embedded_database(tmp_path: Path) -> None:
    place = ["--data-dir", str(tmp_path / "data")]
    with serving(tmp_path / "data") as service, service.client() as client:
        make = ["keys", "make", "--role", "client", "--ledger-to-come", "main", *place]
        key, doomed = (tallystick(*make, name).stdout.removesuffix("\n") for name in ("shop", "doomed"))
        ids = {key["name"]: key["id"] for key in client.get("/v1/keys").json()["data"]}
        assert tallystick("keys", "revoke", ids["doomed"], *place).returncode == 0
        for used, status in ((key, 200), (doomed, 401)):
            headers = {"Authorization": f"Bearer {used}"}
            assert client.get("/v1/ledgers", headers=headers).status_code == status
    # If the service is stopped, its database runs for as long as the command needs it.
    listing = json.loads(tallystick("keys", "list", "--json", *place).stdout)
    assert [(key["name"], key["state"]) for key in listing] == [
        ("bootstrap", "active"),
        ("shop", "active"),
        ("doomed", "revoked"),
    ]
