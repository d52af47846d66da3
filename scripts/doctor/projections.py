"""The projections: how they stand, and whether they hold what the journal says."""

from collections.abc import Iterator
from functools import partial
from time import sleep
from typing import Any, NamedTuple

from psycopg import Connection

from projections.audit import Sample, Unfoldable, compare, versions
from projections.outbox.publishing import NATS
from projections.register import PROJECTIONS
from scripts.doctor.catalogue import Finding
from scripts.doctor.examination import SQL, Check, Patient, examples


class Standing(NamedTuple):
    """How a version stands; `lag_seconds` is the age of the oldest event that it has not taken in."""

    name: str
    version: int
    shape: int
    state: str
    position: int
    head: int
    last_error: str | None
    lag_seconds: float
    has_projector: bool
    has_rebuilder: bool

    def __str__(self) -> str:
        return f"version {self.version} of {self.name}, at position {self.position} of {self.head}"


def standing(patient: Patient) -> Iterator[Finding]:
    """Look at every version: its state, its place, its tables, and whether it advances."""
    found = _standings(patient)
    installed = {version.name for version in found if version.state != "retired"}
    for missing in sorted(PROJECTIONS.keys() - installed):
        yield Finding("projection_missing", f"{missing} is not installed")
    for version in found:
        yield from _standing(patient, version)
    yield from _rebuilds(patient, found)
    yield from _behind(patient, found)


def letters(patient: Patient) -> Iterator[Finding]:
    """Look for open dead letters."""
    if patient.value("has_table", table="dead_letters") and (found := patient.rows("open_letters")):
        words = [
            f"{name}: event {position} of {stream}: {message}" for name, stream, position, _, message in found
        ]
        yield Finding("dead_letters_open", f"{len(found)} events could not be projected", examples(words))


def sums(patient: Patient) -> Iterator[Finding]:
    """Sum the live tables: debits = credits in each asset, of accounts and of each clock."""
    for version in versions(patient.connection):
        if version.name == "balances":
            query = SQL["unbalanced_accounts"].replace(":version", f"{version.version:d}")
            for ledger, asset, posted, pending in patient.connection.execute(query):
                words = f"{posted} posted and {pending} pending in {asset} of {ledger}"
                yield Finding("projection_unbalanced", f"debits − credits of all accounts: {words}")
        elif version.name == "entries":
            query = SQL["unbalanced_turnovers"].replace(":version", f"{version.version:d}")
            for ledger, asset, clock, difference in patient.connection.execute(query):
                words = f"{difference} in {asset} of {ledger} by the clock “{clock}”"
                yield Finding("projection_unbalanced", f"debits − credits of all entries: {words}")


def comparisons() -> list[Check]:
    """Return the check of each projection against the journal, so that one cannot hide the others."""
    return [
        Check(f"{name} holds what the journal says", partial(_compared, name)) for name in sorted(PROJECTIONS)
    ]


def _compared(name: str, patient: Patient) -> Iterator[Finding]:
    with patient.sampled() as sample:
        yield from differing(patient.connection, sample, name)


def differing(
    connection: Connection[Any], sample: Sample | None = None, name: str | None = None
) -> Iterator[Finding]:
    """Compare a projection with the journal, every one if none is named. To be called within `one_instant`."""
    for version in versions(connection, name):
        try:
            for compared in compare(connection, version, sample=sample):
                if not compared.equal:
                    words = f"{compared.differing} rows of {compared.table}, at {compared.position}"
                    yield Finding("projection_differs", words, examples(compared.differences))
        except Unfoldable as error:
            yield Finding("journal_event_unreadable", str(error))


def _standings(patient: Patient) -> list[Standing]:
    return [Standing(*row) for row in patient.rows("versions")]


def _standing(patient: Patient, version: Standing) -> Iterator[Finding]:
    if version.state == "retired":
        yield Finding("projection_retired_left", str(version))
        return
    if version.position > version.head:
        yield Finding("projection_beyond_head", str(version))
    if version.state == "halted":
        yield Finding("projection_halted", f"{version}: {version.last_error}")
    elif version.state == "paused":
        yield Finding("projection_paused", str(version))
    if version.name == NATS:  # has no tables
        return
    known = PROJECTIONS.get(version.name)
    if known is None or known.shape != version.shape:
        yield Finding("projection_of_another_release", f"{version}, whose tables have shape {version.shape}")
    elif missing := patient.rows("missing_tables", names=known.table_names(version.version)):
        yield Finding("projection_tables_missing", str(version), examples([table for (table,) in missing]))


def _rebuilds(patient: Patient, found: list[Standing]) -> Iterator[Finding]:
    rebuilding = [version for version in found if version.state == "rebuilding"]
    refused = {(v.name, v.version): v.last_error for v in rebuilding if v.last_error}
    if patient.value("has_table", table="rebuilds"):
        refused |= {(name, number): why for name, number, why in patient.rows("refused_rebuilds")}
    for (name, number), why in refused.items():
        yield Finding("rebuild_refused", f"version {number} of {name}", (why,))
    for version in rebuilding:
        if (version.name, version.version) not in refused and not version.has_rebuilder:
            yield Finding("rebuild_unfinished", str(version))


def _behind(patient: Patient, found: list[Standing]) -> Iterator[Finding]:
    """Look twice at what is behind: whether it moves tells being late from being stuck."""
    late = {
        (version.name, version.version): version
        for version in found
        if version.state == "running" and version.lag_seconds > patient.limits.lag_seconds
    }
    if not late:
        return
    sleep(patient.limits.look_again_seconds)
    for version in _standings(patient):
        before = late.get((version.name, version.version))
        if before is None or version.state != "running" or version.position >= before.head:
            continue
        words = f"{version}, the oldest event missing being {version.lag_seconds:.0f} s old"
        if version.position > before.position:
            yield Finding("projection_lagging", words)
        elif version.has_projector:
            yield Finding("projection_stuck", f"{words}; last error: {version.last_error or 'none'}")
        else:
            yield Finding("projector_absent", words)
