"""Whatever a role, a database, a URL or the environment sets, the service works with its own session settings."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from domain.journal.database import SESSION, Database, UnfitDatabase
from domain.journal.migrations import migrate
from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.ledgers import open_accounts, running
from tests.projecting import eventually
from tests.service import ROOT, post_account, post_ledger, serving, transfer_body

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

REFERENCE = "Заказ № 7 – 東京 ☕"

HOSTILE = {
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "client_encoding": "LATIN1",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "xmlbinary": "hex",
    "search_path": "public",
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "row_security": "off",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "statement_timeout": "1",
    "lock_timeout": "1",
    "idle_in_transaction_session_timeout": "1",
    "idle_session_timeout": "1",
    "transaction_timeout": "100",  # not a startup option, because older servers do not know it
    "exit_on_error": "on",
    "client_min_messages": "error",
    "synchronous_commit": "off",
    "plan_cache_mode": "force_custom_plan",
    "jit": "on",
    "geqo": "off",
    "enable_indexscan": "off",
    "enable_nestloop": "off",
    "enable_hashjoin": "off",
    "restrict_nonsystem_relation_kind": "view",
}


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "postgres")
    server.start()
    yield server
    server.stop()


def set_for(superuser: psycopg.Connection[Any], whom: str, settings: dict[str, str]) -> None:
    for name, setting in settings.items():
        value = SQL("public") if name == "search_path" else Literal(setting)
        superuser.execute(SQL("ALTER {} SET {} = {}").format(SQL(whom), Identifier(name), value))


def shown(connection: psycopg.Connection[Any]) -> dict[str, str]:
    names = [*HOSTILE, "search_path"]
    query = "SELECT name, current_setting(name, true) FROM unnest(%s::text[]) AS name"
    return dict(connection.execute(query, (names,)).fetchall())


@pytest.mark.parametrize("where", ["role", "database", "url", "environment"])
def test_each_session_is_as_the_service_wants_it(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    url = postgres.url
    if where in ("role", "database"):
        with psycopg.connect(postgres.superuser_url, autocommit=True) as superuser:
            superuser.execute("SELECT set_config('statement_timeout', '0', false)")
            set_for(superuser, {"role": "ROLE tallystick", "database": "DATABASE postgres"}[where], HOSTILE)
    else:
        options = " ".join(
            "-c {}={}".format(name, value.replace(" ", "\\ "))
            for name, value in HOSTILE.items()
            if name != "client_encoding"
        )
        if where == "url":
            url += f"&options={quote(options)}&client_encoding=LATIN1"
        else:
            for name, value in {
                "PGOPTIONS": options,
                "PGTZ": "Asia/Kathmandu",
                "PGDATESTYLE": "SQL, DMY",
                "PGCLIENTENCODING": "LATIN1",
                "PGGEQO": "off",
            }.items():
                monkeypatch.setenv(name, value)
    database = Database(url)
    expected = {
        **{name: SESSION[name] for name in HOSTILE if name in SESSION},
        "search_path": "tallystick, pg_temp",
        "synchronous_commit": "on",
        "transaction_timeout": "0",
        "restrict_nonsystem_relation_kind": "",
    }
    for connect in (database.connect, database.connect_as_owner):
        with connect("tallystick test") as connection:
            assert shown(connection) == expected
            assert connection.info.encoding == "utf-8"


def test_the_whole_service_works_on_a_hostile_login(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """Migrated, served, written, projected, sealed, rebuilt, exported and verified."""
    with psycopg.connect(postgres.superuser_url, autocommit=True) as superuser:
        set_for(
            superuser, "DATABASE postgres", {"datestyle": "German", "default_transaction_read_only": "on"}
        )
        set_for(superuser, "ROLE tallystick", HOSTILE)
    with serving(tmp_path / "service", "--database-url", postgres.url) as service, service.client() as client:
        post_ledger(client)
        post_account(client, "a")
        post_account(client, "b")
        body = {**transfer_body("a", "b", 5), "reference": REFERENCE, "metadata": {"order": REFERENCE}}
        paid = client.post("/v1/ledgers/main/transactions", json=body, headers={"Idempotency-Key": "k"})
        assert paid.status_code == 201, paid.text
        held = client.post(
            "/v1/ledgers/main/transactions",
            json={**transfer_body("a", "b", 1), "pending": True, "expires_at": paid.json()["recorded_at"]},
            headers={"Idempotency-Key": "h"},
        )
        assert held.status_code in (201, 422), held.text
        head = client.get("/v1/ledgers/main/accounts/a").headers["Ledger-Position"]
        for path in ("accounts", "transactions", "accounts/a/entries", "balances", "trial-balance", "events"):
            listed = client.get(
                f"/v1/ledgers/main/{path}", params={"min_position": head} if path != "events" else {}
            )
            assert listed.status_code == 200, (path, listed.text)
            if path in ("transactions", "accounts/a/entries", "events"):
                assert REFERENCE in listed.text
        at = client.get("/v1/ledgers/main/accounts/a", params={"at": paid.json()["recorded_at"]})
        assert at.json()["balance"] == -5
        assert client.get("/v1/dead-letters").json()["data"] == []
        eventually(lambda: client.get("/v1/audit/checkpoint").status_code == 200)
        options = ("--database-url", postgres.url)
        assert tallystick("replay", "entries", *options) == 0
        exported = tmp_path / "exported.jsonl"
        assert tallystick("export", str(exported), *options) == 0
        assert REFERENCE in exported.read_text(encoding="utf-8")
        assert tallystick("verify", str(exported)) in (0, 1)
        assert tallystick("verify", "--live", *options) in (0, 1)
        assert tallystick("doctor", *options) in (0, 1)
        assert tallystick("report", "trial-balance", "--ledger", "main", *options) == 0
        assert tallystick("stuck", *options) == 0


def tallystick(*arguments: str) -> int:
    """Run a command. Return its exit status."""
    command = [sys.executable, "-m", "scripts.tallystick", *arguments]
    ran = subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran.returncode


def test_a_role_that_sessions_begin_in_does_not_matter(postgres: EmbeddedPostgres) -> None:
    database = Database(postgres.url)
    migrate(database)
    with running(database) as ledger:
        open_accounts(ledger, "alice")
    with psycopg.connect(postgres.superuser_url, autocommit=True) as superuser:
        superuser.execute("ALTER ROLE tallystick SET role = pg_monitor")
    with running(database) as ledger:
        open_accounts(ledger, "bob")
        assert ledger.head() == 4


def test_triggers_fire_for_a_superuser_who_is_set_not_to(
    database: Database, owner: psycopg.Connection[Any]
) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "alice")
    careless = database._replace(url=f"{database.url}&options=-c%20session_replication_role%3Dreplica")
    with (
        careless.connect_as_owner("tallystick test") as connection,
        pytest.raises(psycopg.errors.RestrictViolation),
    ):
        connection.execute("DELETE FROM events")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_is_not_utf8_is_refused_in_one_sentence(
    postgres: EmbeddedPostgres, tmp_path: Path, encoding: str
) -> None:
    with psycopg.connect(postgres.superuser_url, autocommit=True) as superuser:
        create = SQL("CREATE DATABASE other ENCODING {} LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0")
        superuser.execute(create.format(Literal(encoding)))
        superuser.execute("GRANT ALL ON DATABASE other TO tallystick")
    url = postgres.url.replace("/postgres?", "/other?")
    with pytest.raises(UnfitDatabase, match=f"has the encoding {encoding}"):
        Database(url).connect("tallystick test")
    exported = tmp_path / "journal.jsonl"
    for command in (
        ["serve", "--port", "0"],
        ["migrate"],
        ["project"],
        ["keys", "list"],
        ["stuck"],
        ["doctor", "--json"],
    ):
        ran = subprocess.run(
            [sys.executable, "-m", "scripts.tallystick", *command, "--database-url", url],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        said = ran.stderr + ran.stdout
        assert ran.returncode == 3 and "Traceback" not in said, (command, said)
        assert "ENCODING 'UTF8'" in " ".join(said.split()), (command, said)
    assert not exported.exists()
