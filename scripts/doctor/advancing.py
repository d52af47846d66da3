"""Whether projections advance: whether a process runs them, and whether they fail, hang, wait, are stopped or late.

Everything with the same cause is one finding, which lists all projections concerned.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from time import sleep
from typing import NamedTuple

from domain.model.times import instant
from projections.registry import NATS, PROJECTIONS
from projections.running.places import TRIED_LATELY_SECONDS, Holder, Place, holders, is_standby, sessions
from scripts.doctor.examination import Patient, examples
from scripts.doctor.finding import Finding

MAX_NAMED = 50


class VersionStanding(NamedTuple):
    """The state of a version. `lag_seconds` is the age of the oldest event that it has not taken in.

    It has been at its position `since` then. `failed_seconds` is the time since an attempt to advance it last failed,
    None if that is unknown.
    """

    name: str
    version: int
    shape: int
    state: str
    live: bool
    position: int
    head: int
    last_error: str | None
    lag_seconds: float
    since: datetime
    failing_since: datetime | None
    failed_seconds: float | None

    def __str__(self) -> str:
        return f"version {self.version} of {self.name}, at position {self.position} of {self.head}"

    @property
    def known(self) -> bool:
        """Whether this release knows its tables. True for what is published to NATS, which has none."""
        known = PROJECTIONS.get(self.name)
        return self.name == NATS or (known is not None and known.shape == self.shape)

    @property
    def stands_since(self) -> str:
        """Since when it fails or stands still."""
        return instant(self.failing_since if self.last_error and self.failing_since else self.since)

    def places(self, purpose: str = "projection") -> list[Place]:
        """Return the places in which it is advanced or rebuilt: this release's name for it, and older ones."""
        if self.name == NATS:
            return [("publish", NATS)]
        kind: Place = ("projection", self.name) if purpose == "projection" else ("rebuild", self.name)
        return [kind, (kind[0], f"{self.name}/{self.shape}")]


class Concerned(NamedTuple):
    """A version that a finding concerns: words about it, and the values to fill into the commands."""

    version: VersionStanding
    words: str
    subject: Mapping[str, str]


def standings(patient: Patient) -> list[VersionStanding]:
    """Return the state of every version."""
    return [VersionStanding(*row) for row in patient.rows("versions")]


def stopped(patient: Patient, found: Sequence[VersionStanding]) -> Iterator[Finding]:
    """Find the versions that have halted or are paused."""
    halted = [
        _concerned(version, f"{version}: {_failure(patient, version)}")
        for version in found
        if version.state == "halted"
    ]
    paused = [_concerned(version, str(version)) for version in found if version.state == "paused"]
    yield from grouped("projection_halted", halted)
    yield from grouped("projection_paused", paused)


def behind(patient: Patient, found: Sequence[VersionStanding]) -> Iterator[Finding]:
    """Look twice at versions that are behind or fail: one that moves in between is only late."""
    late = {(version.name, version.version): version for version in found if _is_suspicious(patient, version)}
    if not late:
        return
    sleep(patient.limits.look_again_seconds)
    again = [version for version in standings(patient) if (version.name, version.version) in late]
    held = holders(patient.connection, [place for version in again for place in version.places()])
    causes: defaultdict[str, list[Concerned]] = defaultdict(list)
    for version in again:
        holder = next((held[place] for place in version.places() if place in held), None)
        if cause := _cause(patient, late[version.name, version.version], version, holder):
            code, words, subject = cause
            causes[code].append(_concerned(version, words, **subject))
    for code, concerned in causes.items():
        yield from grouped(code, concerned)


def grouped(code: str, concerned: Sequence[Concerned]) -> Iterator[Finding]:
    """Yield one finding for all versions concerned, nothing if there are none."""
    if not concerned:
        return
    subjects = tuple(each.subject for each in concerned)
    names = " ".join(dict.fromkeys(each.version.name for each in concerned))
    filled = tuple({**subject, "names": names} for subject in subjects)
    if len(concerned) == 1:
        yield Finding(code, concerned[0].words, subjects=filled)
    else:
        found = f"{len(concerned)} projections: {names.replace(' ', ', ')}"
        yield Finding(code, found, examples([each.words for each in concerned], MAX_NAMED), filled)


def _concerned(version: VersionStanding, words: str, **subject: str) -> Concerned:
    return Concerned(version, words, {"name": version.name, **subject})


def _is_suspicious(patient: Patient, version: VersionStanding) -> bool:
    if version.state != "running":
        return False
    if version.name == NATS and version.last_error and _tried_lately(version):
        return True
    lag_seconds = min(patient.limits.lag_seconds, patient.limits.unattended_seconds)
    lacks_some = version.head > version.position
    return lacks_some and (version.last_error is not None or version.lag_seconds > lag_seconds)


def _cause(
    patient: Patient, before: VersionStanding, version: VersionStanding, holder: Holder | None
) -> tuple[str, str, dict[str, str]] | None:
    """Return why a version is behind, in words, and the values for commands. None if it is not behind any more."""
    is_nats = version.name == NATS
    if version.state != "running":
        return None
    if version.position == before.position and _is_failing(patient, version, holder):
        return "nats_failing" if is_nats else "projection_failing", _failing(patient, version), {}
    is_late = version.lag_seconds > patient.limits.lag_seconds
    is_unattended = version.position == before.position and holder is None
    if version.position >= before.head or not (is_late or is_unattended):
        return None
    words = f"{version}, the oldest missing event being {version.lag_seconds:.0f} s old"
    if version.position > before.position:
        return "projection_lagging", words, {}
    if version.last_error:
        words += f"; its last error: {version.last_error}"
    if holder is None:
        if is_standby(patient.connection):
            return None
        return "nats_publisher_absent" if is_nats else "projector_absent", words, {}
    if holder.blocked_by:
        blocking = ", ".join(map(str, sessions(patient.connection, holder.blocked_by)))
        words += f"; {holder} waits for {blocking or 'a session that has ended meanwhile'}"
        return "projection_blocked", words, {"pid": str(holder.blocked_by[0])}
    return "projection_stuck", f"{words}; its place is held by {holder}", {}


def _is_failing(patient: Patient, version: VersionStanding, holder: Holder | None) -> bool:
    """Tell whether a process still tries to advance it. The one that failed may have ended."""
    if not version.last_error:
        return False
    if version.failed_seconds is None:  # another release noted the error
        return holder is not None or bool(patient.value("has_projector"))
    return _tried_lately(version)


def _tried_lately(version: VersionStanding) -> bool:
    return version.failed_seconds is not None and version.failed_seconds < TRIED_LATELY_SECONDS


def _failing(patient: Patient, version: VersionStanding) -> str:
    return f"{version}, fails: {_failure(patient, version)}"


def _failure(patient: Patient, version: VersionStanding) -> str:
    """Return why a version does not advance, since when, and at which event."""
    words = f"{version.last_error or 'no reason is recorded'}; since {version.stands_since}"
    projection = PROJECTIONS.get(version.name)
    reads_all = projection is None or projection.all_events or not version.known
    wanted = {
        "position": version.position,
        "topics": None if projection is None or reads_all else projection.topics,
        "continuing": [] if projection is None or reads_all else projection.non_initial_topics,
    }
    for position, stream, topic in patient.rows("next_event", **wanted):
        return f"{words}, at event {position} of {stream} ({topic})"
    return words
