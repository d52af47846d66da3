"""The doctor on broken installations: never a traceback, one finding for one cause."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from psycopg import Connection

from domain.journal.database import Database
from scripts.commands.doctor import doctor
from scripts.doctor import installation, outbox
from scripts.doctor.catalogue import CATALOGUE
from scripts.doctor.examination import Check, Examined, Scope, examine
from scripts.doctor.finding import Finding
from scripts.doctor.report import findings
from tests.commands import invoke
from tests.nats_server import serving_nats
from tests.outboxes import register

pytestmark = pytest.mark.integration

MEMBERS = {"code", "severity", "found", "examples", "why", "remedy", "commands"}


def examined(database: Database) -> dict[str, dict[str, Any]]:
    """The command's findings by code, from its JSON."""
    app = typer.Typer()
    app.command()(doctor)
    options = ["--json", "--database-url", database.url, "--schema", database.schema]
    result = invoke(app, options)
    assert "Traceback" not in result.output
    told = json.loads(result.stdout)
    severities = {finding["severity"] for finding in told["findings"]}
    wrong = severities - {"info"}
    assert result.exit_code == (3 if "error" in wrong else 1 if wrong else 0)
    assert told["healthy"] == (result.exit_code == 0)
    for finding in told["findings"]:
        assert finding.keys() == MEMBERS
        assert finding["severity"] == CATALOGUE[finding["code"]].severity
        assert finding["found"] and finding["why"] and finding["remedy"]
        assert "\n" not in finding["found"]
    return {finding["code"]: finding for finding in told["findings"]}


def test_a_database_with_nothing_in_it(empty_database: Database) -> None:
    (missing,) = examined(empty_database).values()
    assert (missing["code"], missing["commands"]) == ("schema_missing", ["tallystick migrate"])


def test_an_installation_of_an_older_release(database: Database, owner: Connection[Any]) -> None:
    owner.execute("DELETE FROM migrations WHERE name >= '0008'")
    owner.execute("DROP TABLE deliveries, webhook_secrets, webhooks, dead_letters CASCADE")
    owner.execute("ALTER TABLE projection_versions DROP COLUMN failing_since, DROP COLUMN held_streams")
    found = examined(database)
    assert "check_failed" not in found
    assert found["migrations_pending"]["commands"] == ["tallystick migrate"]


def test_an_installation_of_a_newer_release(database: Database, owner: Connection[Any]) -> None:
    owner.execute("INSERT INTO migrations VALUES ('9999_of_tomorrow')")
    owner.execute("UPDATE projection_versions SET shape = 99 WHERE name IN ('due', 'entries')")
    found = examined(database)
    assert set(found) >= {"migrations_newer", "projection_of_another_release"}
    assert found["projection_of_another_release"]["found"] == "2 projections: due, entries"


def test_nobody_may_ask_and_no_ledger_is_open_yet(database: Database) -> None:
    (absent,) = (of for of in examined(database).values() if of["severity"] != "info")
    assert absent["code"] == "keys_absent"
    assert absent["commands"] == ["tallystick keys make operator --role operator --ledger '*'"]


def test_a_move_that_was_cut_off(database: Database, owner: Connection[Any]) -> None:
    owner.execute(
        "INSERT INTO ledger_moves (ledger, state, installation, changed_at)"
        " VALUES ('main', 'frozen', 'west', now() - interval '1 minute'), ('other', 'frozen', 'west', now())"
    )
    found = examined(database)["move_unfinished"]
    assert found["commands"] == ["tallystick place main --on west --yes", "tallystick place main --cancel"]


def test_a_login_that_may_see_nothing(database: Database, owner: Connection[Any]) -> None:
    login = f"{database.schema}_blind"
    owner.execute(f"CREATE ROLE {login} LOGIN")
    try:
        other = database._replace(url=database.url.replace("postgres@", f"{login}@"))
        found = examined(other)
        assert set(found) == {"schema_closed"}
        assert found["schema_closed"]["commands"] == [
            f"GRANT USAGE ON SCHEMA {database.schema} TO tallystick_service;",
            f"GRANT tallystick_service TO {login};",
        ]
        owner.execute(f"GRANT USAGE ON SCHEMA {database.schema} TO {login}")
        found = examined(other)
        assert "rights_missing" in found and "check_failed" not in found
        assert found["rights_missing"]["commands"] == [f"GRANT tallystick_service TO {login};"]
    finally:
        owner.execute(f"DROP OWNED BY {login}; DROP ROLE {login}")


def test_a_webhook_that_is_disabled(database: Database, owner: Connection[Any]) -> None:
    with database.connect("test") as connection:
        hook = register(connection, "https://example.com/a")
    owner.execute("UPDATE webhooks SET state = 'disabled', disabled_reason = '410'")
    assert examined(database)["webhook_disabled"]["commands"] == [f"tallystick webhooks enable {hook.id}"]


def codes(database: Database, check: Any) -> list[str]:
    scope = Scope(whole=False, sample_events=1, seed=1)
    return [finding.code for finding in examine(database, Check("it", check), scope, 60.0).findings]


def test_a_broker_that_is_configured_and_away(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert codes(database, outbox.broker) == []
    for url in ("nats://user:secret@127.0.0.1:1", "nats://127.0.0.1:port"):
        monkeypatch.setenv("TALLYSTICK_NATS_URL", url)
        found = examined(database)["nats_unreachable"]
        assert "secret" not in found["found"]


def test_a_broker_that_acknowledges_before_it_syncs(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_NATS_MONITORING_URL", "http://127.0.0.1:1")
    assert "leads to no monitoring page" in examined(database)["nats_unreachable"]["found"]
    for is_synced, expected in ((False, ["nats_unsynced"]), (True, [])):
        folder = tmp_path / str(is_synced)
        folder.mkdir()
        with serving_nats(folder, is_synced=is_synced) as broker:
            monkeypatch.setenv("TALLYSTICK_NATS_MONITORING_URL", broker.monitoring_url)
            assert codes(database, outbox.broker) == expected


def test_a_standby_is_said_to_be_one(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert codes(database, installation.vantage) == []
    for module in ("backups", "installation", "advancing", "outbox", "projections"):
        monkeypatch.setattr(f"scripts.doctor.{module}.is_standby", lambda _: True)
    assert codes(database, installation.vantage) == ["standby_examined"]


def test_many_checks_that_lack_a_right_are_one_finding() -> None:
    lacking = [Examined(name, [Finding("rights_missing", f"{name}: denied")], 0.0) for name in ("a", "b")]
    (finding,) = findings(lacking)
    assert (finding.found, finding.examples) == ("2 checks could not be made", ("a: denied", "b: denied"))
    assert findings(lacking[:1]) == lacking[0].findings


def test_a_right_of_the_service_was_taken_away(database: Database, owner: Connection[Any]) -> None:
    owner.execute("REVOKE SELECT, INSERT ON events FROM tallystick_service")
    login = f"{database.schema}_server"
    owner.execute(f"CREATE ROLE {login} LOGIN; GRANT tallystick_service TO {login}")
    try:
        found = examined(database._replace(url=database.url.replace("postgres@", f"{login}@")))
        assert "rights_missing" not in found and "check_failed" not in found
        table = f"{database.schema}.events"
        assert found["service_lacks_rights"]["commands"] == [
            f"GRANT SELECT ON {table} TO tallystick_service;",
            f"GRANT INSERT ON {table} TO tallystick_service;",
        ]
        for command in found["service_lacks_rights"]["commands"]:
            owner.execute(command)
        assert "service_lacks_rights" not in examined(database)
    finally:
        owner.execute(f"DROP ROLE {login}")


def test_the_rights_looked_for_are_those_that_migrations_grant(
    database: Database, owner: Connection[Any]
) -> None:
    granted = owner.execute(
        "SELECT relname, privilege_type FROM pg_class, aclexplode(relacl)"
        " WHERE relnamespace = current_schema()::regnamespace AND grantee = 'tallystick_service'::regrole"
        " AND relowner <> 'tallystick_service'::regrole AND relname NOT IN ('journal', 'journal_entries')"
        " AND (relname, privilege_type) <> ('valid_api_keys', 'UPDATE')"
    ).fetchall()
    assert set(granted) == set(installation.NEEDED)


def test_a_projection_whose_tables_are_gone_is_one_finding(
    database: Database, owner: Connection[Any]
) -> None:
    owner.execute("DROP TABLE entries_v1, turnovers_v1")
    owner.execute("UPDATE head SET position = 9")
    owner.execute(
        "UPDATE projection_versions SET last_error = 'UndefinedTable', failing_since = now() - interval '1 day'"
        " WHERE name = 'entries'"
    )
    found = examined(database)
    concerned = {code for code, told in found.items() if "entries" in str(told)}
    assert concerned == {"projection_tables_missing"}
    assert "check_failed" not in found
