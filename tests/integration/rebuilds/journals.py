"""The journal that these tests rebuild from, and the versions and states of rebuilds."""

from typing import Any

from psycopg import Connection

from domain.application import LedgerApplication
from domain.journal.database import Database
from projections.rebuilding.requests import Rebuild, find_rebuild
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import await_head, eventually, projecting

ADDRESSES = [f"account:{number}" for number in range(10)]


def post(ledger: LedgerApplication, count: int) -> None:
    """Post transfers around a ring of accounts."""
    pairs = zip(ADDRESSES, [*ADDRESSES[1:], ADDRESSES[0]], strict=True)
    ring = [transfer(debited, credited, 7) for debited, credited in pairs]
    commands = [
        transfer(ring[n % 10].entries[0].account, ring[n % 10].entries[1].account, n + 1)
        for n in range(count)
    ]
    outcomes(ledger.execute(*commands).result())


def fill(database: Database, owner: Connection[Any], count: int = 200) -> int:
    """Write a journal and bring its projections to the head. Return the head."""
    with running(database) as ledger, projecting(database):
        open_accounts(ledger, *ADDRESSES)
        post(ledger, count)
        return await_head(owner)


def versions(owner: Connection[Any], name: str) -> list[tuple[int, str]]:
    rows = owner.execute(
        "SELECT version, state FROM projection_versions WHERE name = %s ORDER BY version", (name,)
    ).fetchall()
    return [(version, state) for version, state in rows]


def tables(owner: Connection[Any], name: str) -> list[str]:
    """The tables of all versions of a projection."""
    rows = owner.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"
        " AND relname ~ ('^' || %s || '_v[0-9]+$') ORDER BY relname",
        (name,),
    ).fetchall()
    return [str(table) for (table,) in rows]


def await_state(connection: Connection[Any], rebuild: Rebuild, *states: str) -> Rebuild:
    """Wait until a rebuild is in one of these states, and return it."""
    eventually(lambda: find_rebuild(connection, rebuild.name, rebuild.version).state in states)
    return find_rebuild(connection, rebuild.name, rebuild.version)
