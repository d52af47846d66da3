"""The check of moves between installations: a ledger that has left one has arrived at another."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

import psycopg
from psycopg.sql import SQL

from domain.journal.queries import load
from domain.placement.installations import Installation
from scripts.doctor.examination import MAX_SUBJECTS, Examined, examples, read_only
from scripts.doctor.finding import Finding

_SQL = load(__name__)
ARRIVALS = "ledgers that have left have arrived"
"""The name of the check of a placement."""

ARRIVAL_SECONDS = 30
"""A mover that was not cut off takes less between the two steps."""


class Moved(NamedTuple):
    """A ledger that one installation says it moved: its state there, the other place, and whether that was long ago."""

    ledger: str
    state: str
    other: str
    is_old: bool


def between(placed: Sequence[Installation], timeout_seconds: float) -> Examined:
    """Find ledgers that are nowhere, since they left and did not arrive. What is out of reach is left out."""
    began, findings = monotonic(), list[Finding]()
    said: dict[str, dict[str, Moved]] = {}
    try:
        for name, database in placed:
            with suppress(psycopg.OperationalError), read_only(database) as connection:
                connection.execute(SQL("SET statement_timeout = {}").format(int(timeout_seconds * 1000)))
                wanted = {"seconds": ARRIVAL_SECONDS}
                moved = (Moved(*row) for row in _SQL["moved"].rows(connection, wanted))
                said[name] = {each.ledger: each for each in moved}
    except psycopg.Error as error:
        findings.append(Finding("check_failed", f"“{ARRIVALS}”: {type(error).__name__}"))
    else:
        if found := sorted(set(_under_way(said))):
            subjects = tuple({"ledger": ledger, "installation": to} for ledger, to in found[:MAX_SUBJECTS])
            words = examples([f"{ledger} to {to}" for ledger, to in found])
            findings.append(
                Finding(
                    "move_not_arrived", f"{len(found)} ledgers have left and not arrived", words, subjects
                )
            )
    return Examined(ARRIVALS, findings, monotonic() - began)


def _under_way(said: dict[str, dict[str, Moved]]) -> Iterator[tuple[str, str]]:
    """Yield ledgers that are nowhere, each with the installation to which it left.

    One that knows nothing of the ledger was restored to an earlier moment.
    """
    present = {each.ledger for moved in said.values() for each in moved.values() if each.state == "present"}
    for name, moved in said.items():
        for each in moved.values():
            if each.state != "left" or not each.is_old or each.ledger in present or each.other not in said:
                continue
            there = said[each.other].get(each.ledger)
            if there is None or (there.state, there.other) == ("arriving", name):
                yield each.ledger, each.other
