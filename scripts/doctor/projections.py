"""Checks of projections: whether they advance, what they could not apply, and whether they agree with the journal."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from psycopg import Connection

from projections.audit import Sample, Unfoldable, compare, versions
from projections.registry import NATS, PROJECTIONS
from projections.running.places import holders, is_standby
from scripts.doctor.advancing import Concerned, VersionStanding, behind, grouped, standings, stopped
from scripts.doctor.examination import MAX_SUBJECTS, SQL, Check, Patient, examples
from scripts.doctor.finding import Finding


def standing(patient: Patient) -> Iterator[Finding]:
    """Check every version: its state, its place, its tables, and whether it advances."""
    found = standings(patient)
    installed = {version.name for version in found if version.state != "retired"}
    if missing := sorted(PROJECTIONS.keys() - installed):
        yield Finding("projection_missing", f"not installed: {', '.join(missing)}")
    yield from _versions(patient, [version for version in found if version.state != "retired"])
    yield from grouped("projection_retired_left", _named(found, lambda version: version.state == "retired"))
    yield from stopped(patient, found)
    yield from _rebuilds(patient, found)
    # What fails for want of its tables is told already, with what mends it.
    yield from behind(patient, [version for version in found if not _lacks(patient, version)])


def letters(patient: Patient) -> Iterator[Finding]:
    """Look for open dead letters."""
    if patient.value("has_table", table="dead_letters") and (found := patient.rows("open_letters")):
        words = [
            f"{name}: event {position} of {stream}: {message}" for name, stream, position, message, _ in found
        ]
        subjects = tuple({"id": id} for *_, id in found[:MAX_SUBJECTS])
        yield Finding(
            "dead_letters_open", f"{len(found)} events could not be projected", examples(words), subjects
        )


def sums(patient: Patient) -> Iterator[Finding]:
    """Sum the live tables: debits must equal credits in each asset, over accounts and by each clock."""
    for version in versions(patient.connection):
        if version.name == "balances":
            query = SQL["unbalanced_accounts"].fill(version=version.version)
            for ledger, asset, posted, pending in query.rows(patient.connection):
                words = f"{posted} posted and {pending} pending in {asset} of {ledger}"
                found = f"debits − credits of all accounts: {words}"
                yield Finding("projection_unbalanced", found, subjects=({"name": version.name},))
        elif version.name == "entries":
            query = SQL["unbalanced_turnovers"].fill(version=version.version)
            for ledger, asset, clock, difference in query.rows(patient.connection):
                words = f"{difference} in {asset} of {ledger} by the clock “{clock}”"
                found = f"debits − credits of all entries: {words}"
                yield Finding("projection_unbalanced", found, subjects=({"name": version.name},))


def comparisons() -> list[Check]:
    """Return one check per projection that compares it with the journal, so that one cannot hide the others."""
    return [
        Check(f"{name} holds what the journal says", partial(_compared, name)) for name in sorted(PROJECTIONS)
    ]


def _compared(name: str, patient: Patient) -> Iterator[Finding]:
    with patient.sampled() as sample:
        yield from differing(patient.connection, sample, name)


def differing(
    connection: Connection[Any], sample: Sample | None = None, name: str | None = None
) -> Iterator[Finding]:
    """Compare a projection with the journal, or every projection if `name` is None. Call it within `one_instant`."""
    for version in versions(connection, name):
        try:
            for compared in compare(connection, version, sample=sample):
                if not compared.equal:
                    words = f"{compared.differing} rows of {compared.table}, at {compared.position}"
                    subjects = ({"name": version.name},)
                    yield Finding("projection_differs", words, examples(compared.differences), subjects)
        except Unfoldable as error:
            yield Finding("journal_event_unreadable", str(error))


def _named(found: Sequence[VersionStanding], holds: Callable[[VersionStanding], bool]) -> list[Concerned]:
    return [Concerned(version, str(version), {"name": version.name}) for version in found if holds(version)]


def _versions(patient: Patient, found: Sequence[VersionStanding]) -> Iterator[Finding]:
    yield from grouped(
        "projection_beyond_head", _named(found, lambda version: version.position > version.head)
    )
    unknown = [
        Concerned(version, f"{version}, whose tables have shape {version.shape}", {"name": version.name})
        for version in found
        if not version.known
    ]
    yield from grouped("projection_of_another_release", unknown)
    lacking = [
        Concerned(version, f"{version}, lacks {', '.join(missing)}", {"name": version.name})
        for version in found
        if (missing := _lacks(patient, version))
    ]
    yield from grouped("projection_tables_missing", lacking)


def _lacks(patient: Patient, version: VersionStanding) -> list[str]:
    """Return the tables of a version that are not there; none of a retired one, which nobody needs."""
    if not version.known or version.name == NATS or version.state == "retired":
        return []
    names = PROJECTIONS[version.name].table_names(version.version)
    return [table for (table,) in patient.rows("missing_tables", names=names)]


def _rebuilds(patient: Patient, found: Sequence[VersionStanding]) -> Iterator[Finding]:
    rebuilding = [version for version in found if version.state == "rebuilding"]
    refused = {(v.name, v.version): v.last_error for v in rebuilding if v.last_error}
    if patient.value("has_table", table="rebuilds"):
        refused |= {(name, number): why for name, number, why in patient.rows("refused_rebuilds")}
    for (name, number), why in refused.items():
        yield Finding("rebuild_refused", f"version {number} of {name}", (why or "",), ({"name": name},))
    places = [place for version in rebuilding for place in version.places("rebuild")]
    held = holders(patient.connection, places)
    if is_standby(patient.connection):
        return
    abandoned = _named(
        rebuilding,
        lambda version: (
            (version.name, version.version) not in refused
            and not any(place in held for place in version.places("rebuild"))
        ),
    )
    yield from grouped("rebuild_unfinished", abandoned)
