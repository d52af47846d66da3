"""The rules of what was witnessed of other installations: each event goes on from the one before it in its stream."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from projections.audit.stored import INSTALLATION, Stored
from projections.audit.violation import Violation, violation


class _Log(NamedTuple):
    version: int
    origin: str
    size: int
    root: str
    note: str
    dispute: dict[str, Any] | None


class WitnessedRules:
    """Checks the events of all witnessed logs. It keeps the newest of each."""

    def __init__(self) -> None:
        self._logs: dict[str, _Log] = {}

    def judge(self, event: Stored) -> Iterator[Violation]:
        """Apply the next event; yield the rules that it breaks."""
        log, data = self._logs.get(event.stream), event.data
        if event.version != (log.version if log else 0) + 1:
            yield violation(
                "version_gap", event, f"version {event.version} follows {log.version if log else 0}"
            )
        if event.stream != f"{INSTALLATION}/witnesses/{event.name}":
            yield violation("event_misplaced", event, f"{event.topic} in a stream that is not a log's")
        if wrong := _contradicted(log, event):
            yield violation("checkpoint_unmatched", event, wrong)
        dispute = data if event.topic == "checkpoint.disputed" else None
        self._logs[event.stream] = _Log(
            event.version, data["origin"], data["size"], data["root"], data["note"], dispute
        )


def _contradicted(log: _Log | None, event: Stored) -> str | None:
    """Return in words how an event contradicts the log before it or its own note, None if it does not."""
    data = event.data
    if data["note"].split("\n", 2)[:2] != [data["origin"], str(data["size"])]:
        return "the note is not of this origin and size"
    if event.topic == "checkpoint.witnessed":
        if log is None:
            return None if data["grown_from"] == 0 else "nothing was witnessed before it"
        if log.dispute is not None:
            return "the log was in dispute"
        if data["origin"] != log.origin or data["grown_from"] != log.size or data["size"] < log.size:
            return f"it goes on from {data['grown_from']} events, and {log.size} were witnessed"
        if data["size"] == log.size and data["root"] != log.root:
            return f"another root of {log.size} events was witnessed"
        return None
    if log is None:
        return f"{event.topic} of a log that was never witnessed"
    if (log.dispute is None) != (event.topic == "checkpoint.disputed"):
        return f"{event.topic} while the log was {'not ' if log.dispute is None else ''}in dispute"
    is_accepted = data.get("decision") == "accepted"
    expected = log.dispute["disputed"] if log.dispute and is_accepted else log.note
    return None if data["note"] == expected else "it goes on from another note than the one before it"
