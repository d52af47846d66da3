"""Adds to the golden file the line of every event type, version and snapshot it lacks.

Run `python -m tests.upgrade.record` from the top of the project after a new event type, a raised `class_version` or a
new snapshot topic, and commit the line with it. Existing lines never change, because there are journals with those
bytes. If an example's bytes differ from its line, it says so, adds nothing, and exits 1.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from domain.journal.encoding import encode_envelope, encode_event
from domain.journal.snapshots import encode_snapshot
from domain.model import accounts
from tests.upgrade.examples import ENVELOPE, EVENTS, SNAPSHOTS

GOLDEN_FILE = Path(__file__).with_name("golden_events.jsonl")


class Form(NamedTuple):
    """A stored form: a topic in one of its versions. A snapshot's topic includes its version."""

    topic: str
    class_version: int | None


def folded(topic: str) -> Form:
    """Return the form that pins which events, in which versions, a snapshot of this topic may stand for."""
    return Form(f"{topic}: folded", None)


class Mismatch(Exception):
    """The stored form of a topic and version changed. Raise its `class_version`, or change its snapshot topic."""


def present() -> dict[Form, bytes]:
    """Return the bytes of each example as this release stores them."""
    envelope = encode_envelope(ENVELOPE)
    events = {Form(event.TOPIC, event.class_version): encode_event(event, envelope) for event in EVENTS}
    states = {Form(topic, None): encode_snapshot(state) for topic, state in SNAPSHOTS.items()}
    versions = {event_type.TOPIC: event_type.class_version for event_type in accounts.EVENTS}
    folds = {folded(topic): json.dumps(versions, sort_keys=True).encode() for topic in SNAPSHOTS}
    return events | states | folds


def golden(file: Path = GOLDEN_FILE) -> dict[Form, bytes]:
    """Return the bytes pinned by the golden file."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    read = [json.loads(line) for line in lines]
    return {Form(line["topic"], line["class_version"]): line["state"].encode() for line in read}


def record(forms: Mapping[Form, bytes], file: Path = GOLDEN_FILE) -> list[Form]:
    """Append the missing lines and return their forms. Raises `Mismatch` if a line has other bytes."""
    pinned = golden(file)
    if changed := [form for form, state in forms.items() if pinned.get(form, state) != state]:
        raise Mismatch(f"{(Mismatch.__doc__ or '').splitlines()[0]} Changed: {changed}")
    missing = [form for form in forms if form not in pinned]
    with file.open("a", encoding="utf-8") as lines:
        for form in missing:
            lines.write(json.dumps({**form._asdict(), "state": forms[form].decode()}) + "\n")
    return missing


if __name__ == "__main__":
    try:
        for added in record(present(), *map(Path, sys.argv[1:])):  # to another file, if one is named
            print("added", *added)  # noqa: T201
    except Mismatch as mismatch:
        sys.exit(str(mismatch))
