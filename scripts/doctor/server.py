"""Checks of the server: durability, space, sessions that make others wait, and its clock."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from time import time

from projections.diagnosis.stuck.sessions import blocking_sessions
from scripts.doctor.examination import MAX_SUBJECTS, Patient, examples
from scripts.doctor.finding import Finding

_ESSENTIAL = ("fsync", "full_page_writes", "autovacuum")


def durability(patient: Patient) -> Iterator[Finding]:
    """Check the settings without which a crash loses or corrupts acknowledged writes.

    synchronous_commit is not among them: each session of the service sets it by itself (domain/journal/database.py).
    """
    for name, setting in sorted(patient.rows("settings", names=list(_ESSENTIAL))):
        if setting == "off":
            yield Finding(f"{name}_off", f"{name} is off")


def room(patient: Patient) -> Iterator[Finding]:
    """Check the space on the disk, if it is this machine's, and the number of connections."""
    directory = patient.value("data_directory")
    if directory and Path(directory).exists():
        usage = shutil.disk_usage(directory)
        if usage.free < patient.limits.free_disk_share * usage.total:
            yield Finding(
                "disk_full_soon",
                f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB are free in {directory}",
            )
    _, _, used = patient.rows("facts")[0]
    settings = dict(patient.rows("settings", names=["max_connections", "superuser_reserved_connections"]))
    most = int(settings["max_connections"]) - int(settings["superuser_reserved_connections"])
    if used >= patient.limits.connections_share * most:
        yield Finding("connections_exhausted_soon", f"{used} of {most} connections are in use")


def sessions(patient: Patient) -> Iterator[Finding]:
    """Look for what holds vacuum back: old transactions, prepared transactions, and slots without a reader."""
    limits = patient.limits
    for pid, application, user, is_idle, seconds, idle_seconds in patient.rows("transactions"):
        who = f"process {pid} ({application or 'unnamed'}, user {user})"
        if is_idle and idle_seconds > limits.idle_in_transaction_seconds:
            found = f"{who} has been idle for {idle_seconds:.0f} s"
            yield Finding("session_idle_in_transaction", found, subjects=({"pid": str(pid)},))
        elif not is_idle and seconds > limits.transaction_seconds:
            found = f"{who} has been in a transaction for {seconds:.0f} s"
            yield Finding("transaction_long_running", found, subjects=({"pid": str(pid)},))
    for gid, quoted, owner, seconds in patient.rows("prepared", seconds=limits.prepared_seconds):
        found = f"{gid} of {owner} has waited for {seconds:.0f} s"
        yield Finding("transaction_prepared", found, subjects=({"gid": quoted},))
    for slot, quoted, retained in patient.rows("inactive_slots"):
        yield Finding("slot_inactive", f"slot {slot} retains {retained}", subjects=({"slot": quoted},))


def blockers(patient: Patient) -> Iterator[Finding]:
    """Look for sessions that hold a lock the service needs."""
    found = blocking_sessions(patient.connection, patient.limits.blocking_seconds)
    for session in found:
        yield Finding("session_blocking", f"{session.words}. To end it: {session.command};")


def vacuum(patient: Patient) -> Iterator[Finding]:
    """Check the age of transaction ids, and look for tables that were never analysed."""
    age = patient.value("transaction_age")
    if age > patient.limits.transaction_age:
        yield Finding(
            "wraparound_near", f"the oldest transaction id is {age:,} old; the limit is 2,147,483,648"
        )
    if tables := patient.rows("never_analysed", rows=patient.limits.rows_to_analyse):
        words = [f"{name}, about {rows:,} rows" for name, rows in tables]
        subjects = tuple({"table": name} for name, _ in tables[:MAX_SUBJECTS])
        yield Finding(
            "table_never_analysed", f"{len(tables)} tables were never analysed", examples(words), subjects
        )


def clocks(patient: Patient) -> Iterator[Finding]:
    """Compare the clocks of this machine, of the database, and of the machine that recorded the newest event."""
    before = time()
    ((database, ahead),) = patient.rows("clocks")
    skew = max(before - database, database - time(), 0.0)
    if skew > patient.limits.skew_seconds:
        yield Finding(
            "clock_skewed", f"the clocks of this machine and of the database differ by {skew:.1f} s"
        )
    if ahead > patient.limits.skew_seconds:
        yield Finding(
            "recorded_in_future", f"the newest event's recorded time is {ahead:.1f} s in the future"
        )
