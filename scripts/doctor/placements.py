"""The check of the map of a placement: each installation has the ledgers that home's map gives to it."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.sql import SQL

from domain.journal.queries import load
from domain.placement.installations import Installation
from scripts.doctor.examination import MAX_SUBJECTS, Examined, examples, read_only
from scripts.doctor.finding import Finding

_SQL = load(__name__)
NAME = "ledgers are where the map has them"
OPENING_SECONDS = 60.0
"""An entry of the map may be this old before its ledger must have been opened."""


def examined(placed: Sequence[Installation], timeout_seconds: float) -> Examined:
    """Compare home's map with the journals of all installations, home first. One out of reach is left out."""
    began, findings = monotonic(), list[Finding]()
    with ExitStack() as stack:
        connections: dict[str, Connection[Any]] = {}
        for name, database in placed:
            with suppress(psycopg.OperationalError):
                connections[name] = stack.enter_context(read_only(database))
        for connection in connections.values():
            connection.execute(SQL("SET statement_timeout = {}").format(int(timeout_seconds * 1000)))
        try:
            if placed[0].name in connections and (lost := missing(placed[0].name, connections)):
                findings.append(_finding(lost, _bound_for(connections, list(lost))))
        except psycopg.Error as error:
            findings.append(Finding("check_failed", f"“{NAME}”: {type(error).__name__}"))
    return Examined(NAME, findings, monotonic() - began)


def missing(home: str, connections: Mapping[str, Connection[Any]]) -> dict[str, str]:
    """Return the ledgers that an installation does not have, by name, with the installation that the map gives each to.

    A ledger that has left an installation, or has not yet arrived, is there: the installation answers for it.
    """
    entries = _SQL["entries"].rows(connections[home], {"seconds": OPENING_SECONDS})
    return {
        ledger: installation
        for installation, ledgers in entries
        if installation in connections
        for (ledger,) in _SQL["missing"].rows(connections[installation], {"ledgers": ledgers})
    }


def _bound_for(connections: Mapping[str, Connection[Any]], ledgers: Sequence[str]) -> set[tuple[str, str]]:
    """Return which of the ledgers have left an installation, each with where it went."""
    of = {"ledgers": ledgers}
    return {left for connection in connections.values() for left in _SQL["left"].rows(connection, of)}


def _finding(lost: Mapping[str, str], bound_for: set[tuple[str, str]]) -> Finding:
    subjects = tuple(
        {"ledger": ledger, "installation": at} if (ledger, at) in bound_for else {"ledger": ledger}
        for ledger, at in list(lost.items())[:MAX_SUBJECTS]
    )
    words = examples([f"{ledger} on {at}" for ledger, at in lost.items()])
    number = f"{len(lost)} ledgers are" if len(lost) > 1 else "1 ledger is"
    return Finding("ledger_missing", f"{number} not where the map has it", words, subjects)
