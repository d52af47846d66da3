"""Exports made and verified by the commands, and journals rewritten behind them."""

import json
from pathlib import Path
from typing import Any

from psycopg import Connection
from typer.testing import Result

from domain.journal.database import Database
from domain.transparency.leaves import hash_of
from domain.transparency.tiles import append as append_leaves
from projections.transparency.checkpoints import read_newest
from scripts.tallystick import application
from tests.commands import invoke
from tests.projecting import await_head, eventually, projecting
from tests.tampering import arm, disarm


def run(
    command: str, *arguments: object, database: Database | None = None, given: bytes | None = None
) -> Result:
    """Run the command as from a terminal."""
    options = ["--database-url", database.url, "--schema", database.schema] if database else []
    return invoke(application([command]), [command, *map(str, arguments), *options], given)


def exported(database: Database, *options: object) -> bytes:
    result = run("export", *options, "--wait-seconds", 0, database=database)
    assert result.exit_code == 0, result.output
    return result.stdout_bytes


def verified(file: Path, *options: object) -> tuple[int, dict[str, Any]]:
    """The exit code, and the findings by code, each with its examples as one text."""
    result = run("verify", file, "--json", *options)
    said = json.loads(result.stdout)
    assert said["sound"] == (not said["findings"]) == (result.exit_code == 0)
    return result.exit_code, {found["code"]: " ".join(found["examples"]) for found in said["findings"]}


def seal_all(database: Database) -> None:
    """Project and seal everything."""

    def is_sealed(head: int) -> bool:
        newest = read_newest(connection)
        return newest is not None and newest.size == head

    with projecting(database), database.connect("test of seals") as connection:
        head = await_head(connection)
        eventually(lambda: is_sealed(head))


def rewrite(owner: Connection[Any], *statements: str) -> None:
    """Do what only a malicious superuser can: drop the triggers and change anything."""
    owner.execute("DROP TRIGGER IF EXISTS head_never_moves_back ON head")
    with owner.transaction():
        disarm(owner)
        for statement in statements:
            assert owner.execute(statement.encode()).rowcount
        arm(owner)


def replaced(what: str, by: str, where: str) -> str:
    """The statement that changes the text of events."""
    text = f"convert_to(replace(convert_from(state, 'UTF8'), '{what}', '{by}'), 'UTF8')"
    return f"UPDATE stored_events SET state = {text} WHERE {where}"


def stream_rewritten(owner: Connection[Any]) -> None:
    """The actor changed in every event of a stream, with all hashes of the tree recomputed."""
    stream = "main/accounts/users:1:wallet"
    rewrite(owner, replaced('"actor":"shop"', '"actor":"none"', f"originator_id = '{stream}'"))
    rows = owner.execute(
        "SELECT notification_id, originator_id, originator_version, topic, state FROM events"
        " ORDER BY notification_id"
    ).fetchall()
    tiles = append_leaves(0, {}, [hash_of(*row) for row in rows])
    for (level, number), hashes in tiles.items():
        owner.execute(
            "UPDATE seals_v1 SET hashes = %s WHERE level = %s AND number = %s", (hashes, level, number)
        )
