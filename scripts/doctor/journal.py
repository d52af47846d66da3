"""Checks of the journal: its rules, its snapshots, and the work that the ledger has to do by itself."""

from collections import defaultdict
from collections.abc import Iterator

from domain.model.streams import ledger_of, name_of
from projections.audit import Violation, snapshot_differences, versions, violations
from scripts.doctor.examination import MAX_SUBJECTS, SQL, Patient, examples
from scripts.doctor.finding import Finding


def extent(patient: Patient) -> Iterator[Finding]:
    """Count events: positions from 1 to the head and versions of every stream from 1 must have no gaps."""
    ((head, events, last),) = patient.rows("extent")
    if head != last:
        yield Finding("journal_head_wrong", f"the head is {head}, and the newest event is at {last}")
    if events != last:
        gaps = [f"{first} to {until}" for first, until in patient.rows("position_gaps")]
        yield Finding("journal_position_gap", f"{last - events} positions are missing", examples(gaps))
    if streams := patient.rows("version_gaps"):
        words = [f"{stream}: {count} events up to version {newest}" for stream, count, newest in streams]
        yield Finding("journal_version_gap", f"{len(streams)} streams or more have gaps", examples(words))


def rules(patient: Patient) -> Iterator[Finding]:
    """Check the journal, or the accounts of the sample, against the rules of a ledger."""
    found: defaultdict[str, list[Violation]] = defaultdict(list)
    with patient.sampled() as sample:
        for violation in violations(patient.connection, sample):
            found[violation.code].append(violation)
    for code, broken in found.items():
        words = f"{len(broken)} times, first at position {broken[0].position}"
        yield Finding(f"journal_{code}", words, examples(broken))


def snapshots(patient: Patient) -> Iterator[Finding]:
    """Compare snapshots with the events that they stand for."""
    with patient.sampled() as sample:
        if differing := list(snapshot_differences(patient.connection, sample)):
            subjects = tuple(
                {"stream": f"'{stream}'"}
                for stream in dict.fromkeys(each.stream for each in differing[:MAX_SUBJECTS])
            )
            found = f"{len(differing)} differ from the events"
            yield Finding("snapshot_differs", found, examples(differing), subjects)


def overdue(patient: Patient) -> Iterator[Finding]:
    """Look for expired holds that were not released, and for accepted requests that were not carried out."""
    for version in versions(patient.connection, "due"):
        query = SQL["overdue"].fill(version=version.version)
        wanted = {"seconds": patient.limits.overdue_seconds}
        found: defaultdict[str, list[str]] = defaultdict(list)
        subjects: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
        for stream, topic, seconds in query.rows(patient.connection, wanted):
            code = "hold_not_released" if topic == "transaction.held" else "request_not_carried_out"
            found[code].append(f"{stream}, {seconds:.0f} s late")
            subjects[code].append({"id": name_of(stream), "ledger": ledger_of(stream)})
        for code, late in found.items():
            yield Finding(code, f"{len(late)} are late", examples(late), tuple(subjects[code][:MAX_SUBJECTS]))
