"""Checks of backups: whether the write-ahead log is kept somewhere else, and whether the archiver gets it there."""

import os
from collections.abc import Iterator

from projections.running.places import is_standby
from scripts.doctor.examination import Patient
from scripts.doctor.finding import Finding

ELSEWHERE = "TALLYSTICK_BACKED_UP_BY"


def archive(patient: Patient) -> Iterator[Finding]:
    """Check that the log leaves this machine: by the archiver, or by a receiver such as `pg_receivewal`.

    A standby is not asked: the primary sends the log.
    """
    if is_standby(patient.connection) or os.environ.get(ELSEWHERE):
        return
    ((mode, command, library, is_embedded, receivers, standbys),) = patient.rows("archive")
    archives = mode != "off" and bool(command or library)
    for failed, segment, failed_at, archived_at in patient.rows("failing_archiver") if archives else ():
        last = f"the last success was at {archived_at}" if archived_at else "none has ever arrived"
        words = f"{segment} could not be archived at {failed_at}, one of {failed} failures; {last}"
        yield Finding("archive_failing", words)
    if archives or receivers:
        return
    if is_embedded:
        yield Finding("embedded_unarchived", "the embedded database keeps its log on this machine alone")
        return
    why = f"archive_mode is {mode}" + ("" if mode == "off" else " without archive_command or archive_library")
    words = f"{why}, and no pg_receivewal is connected"
    yield Finding("archive_absent", words + ("; a standby follows, which is no backup" if standbys else ""))
