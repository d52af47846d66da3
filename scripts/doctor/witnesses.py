"""Checks of witnessing: whether another installation contradicts itself, and whether anybody looks."""

from collections.abc import Iterator

from scripts.doctor.examination import Patient, examples
from scripts.doctor.finding import Finding


def witnessed(patient: Patient) -> Iterator[Finding]:
    """Look for logs in dispute, and for logs that nobody has looked at for long, or in vain."""
    if not patient.value("has_table", table="witnessed_logs"):
        return
    found = patient.rows("witnessed")
    if disputed := [name for name, _, _, is_disputed in found if is_disputed]:
        subjects = tuple({"name": name} for name in disputed)
        words = f"checkpoints of {len(disputed)} logs contradict what was witnessed of them"
        yield Finding("checkpoint_disputed", words, examples(disputed), subjects)
    late = [row for row in found if not row[3] and row[1] > patient.limits.unwitnessed_seconds]
    if late:
        subjects = tuple({"name": name} for name, *_ in late)
        told = [f"{name}, for {seconds:.0f} s{f': {why}' if why else ''}" for name, seconds, why, _ in late]
        yield Finding("witness_late", f"{len(late)} logs are not witnessed", examples(told), subjects)
