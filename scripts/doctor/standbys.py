"""Checks of standbys: whether a commit waits until one of them has it."""

from collections.abc import Iterator

from projections.running.places import is_standby
from scripts.doctor.examination import Patient
from scripts.doctor.finding import Finding

_WAITING_FOR_STANDBY = ("on", "remote_apply", "remote_write")
"""The values of synchronous_commit with which a commit waits for a synchronous standby."""


def acknowledged(patient: Patient) -> Iterator[Finding]:
    """Check that what is acknowledged is on a standby as well, if there are standbys. Asked of the primary alone."""
    if is_standby(patient.connection):
        return
    ((names, commit, following, unseen, synchronous),) = patient.rows("standbys")
    if not names:
        if following:
            found = f"synchronous_standby_names is empty, and {following} standbys follow"
            yield Finding("standby_asynchronous", found)
        return
    if commit not in _WAITING_FOR_STANDBY:
        found = f"synchronous_standby_names is {names!r}, and synchronous_commit of the service is {commit}"
        yield Finding("commits_local", found)
    if not synchronous and not unseen:
        yield Finding("standby_absent", f"no standby of {names!r} is connected")
