"""The check of moves between installations: a ledger that has left one has arrived at another."""

from collections.abc import Sequence
from contextlib import suppress
from time import monotonic

import psycopg
from psycopg.sql import SQL

from domain.application import system_clock
from domain.model.times import later
from domain.placement.installations import Installation
from projections.diagnosis.moves import LedgerMove, read_moves
from projections.diagnosis.moves import between as between_places
from scripts.doctor.examination import MAX_SUBJECTS, Examined, examples, read_only
from scripts.doctor.finding import Finding

ARRIVALS = "ledgers that have left have arrived"
"""The name of the check of a placement."""

ARRIVAL_SECONDS = 30
"""A mover that was not cut off takes less between the two steps."""


def between(placed: Sequence[Installation], timeout_seconds: float) -> Examined:
    """Find ledgers that are nowhere, since they left and did not arrive. What is out of reach is left out."""
    began, findings = monotonic(), list[Finding]()
    said: dict[str, Sequence[LedgerMove]] = {}
    try:
        for name, database in placed:
            with suppress(psycopg.OperationalError), read_only(database) as connection:
                connection.execute(SQL("SET statement_timeout = {}").format(int(timeout_seconds * 1000)))
                said[name] = read_moves(connection)
    except psycopg.Error as error:
        findings.append(Finding("check_failed", f"“{ARRIVALS}”: {type(error).__name__}"))
    else:
        before = later(system_clock(), -ARRIVAL_SECONDS)
        if found := sorted({(of.ledger, of.bound_for) for of in between_places(said) if of.since <= before}):
            subjects = tuple({"ledger": ledger, "installation": to} for ledger, to in found[:MAX_SUBJECTS])
            words = examples([f"{ledger} to {to}" for ledger, to in found])
            findings.append(
                Finding(
                    "move_not_arrived", f"{len(found)} ledgers have left and not arrived", words, subjects
                )
            )
    return Examined(ARRIVALS, findings, monotonic() - began)
