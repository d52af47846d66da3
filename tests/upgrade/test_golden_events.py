"""Stored bytes of older releases: this release reads them, and stores unchanged forms in the same bytes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from msgspec import Struct
from msgspec.structs import fields

from api.app import Application
from api.resources.journal.event_schemas import event_body
from domain.journal.encoding import UnreadableEvent, decode
from domain.journal.snapshots import TOPICS, decode_snapshot
from domain.model.events import Envelope, Event
from domain.model.registry import EVENT_TYPES
from projections.outbox.messages import message_of
from projections.read_models.event_history import journal_event
from tests.upgrade.examples import ENVELOPE, EVENTS, SNAPSHOTS
from tests.upgrade.record import GOLDEN_FILE, Form, Mismatch, golden, present, record

GOLDEN = golden()
DOCUMENT = Application().openapi()
EVENTS_OF_ALL_TIMES = [form for form in GOLDEN if form.class_version is not None]


@pytest.mark.parametrize("topic", sorted(EVENT_TYPES))
def test_every_version_of_every_event_type_is_pinned(topic: str) -> None:
    versions = range(1, EVENT_TYPES[topic].class_version + 1)
    missing = [version for version in versions if Form(topic, version) not in GOLDEN]
    assert not missing, "run python -m tests.upgrade.record"


@pytest.mark.parametrize("topic", TOPICS)
def test_every_snapshot_is_pinned(topic: str) -> None:
    assert Form(topic, None) in GOLDEN, "run python -m tests.upgrade.record"


@pytest.mark.parametrize("form", present(), ids=str)
def test_what_is_stored_today_is_what_was_stored_then(form: Form) -> None:
    assert present()[form] == GOLDEN[form]


@pytest.mark.parametrize("form", EVENTS_OF_ALL_TIMES, ids=str)
def test_what_was_stored_then_can_be_read_today(form: Form) -> None:
    recorded = decode("main/a/b", 1, form.topic, GOLDEN[form], 1)
    assert type(recorded.event) is EVENT_TYPES[form.topic]
    assert recorded.envelope == ENVELOPE


@pytest.mark.parametrize("form", EVENTS_OF_ALL_TIMES, ids=str)
def test_what_was_stored_then_is_what_the_document_describes(form: Form) -> None:
    name = {"key": "KeyEvent", "checkpoint": "WitnessedEvent"}.get(form.topic.partition(".")[0], "Event")
    ledger = "main" if name == "Event" else "-"
    row = (f"{ledger}/a/b", 1, form.topic, GOLDEN[form], 1)
    shown: list[tuple[str, Any]] = [(name, event_body(journal_event(row)))]
    if ledger == "main":
        shown.append(("WebhookMessage", json.loads(message_of(row, "https://ledger.example").body)))
    for name, body in shown:
        schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
        jsonschema_rs.validator_for(schema, validate_formats=True).validate(body)
        described = DOCUMENT["components"]["schemas"][name]["discriminator"]["mapping"][form.topic]
        members = DOCUMENT["components"]["schemas"][described.rpartition("/")[2]]["properties"]
        assert body.keys() <= members.keys()


@pytest.mark.parametrize("form", EVENTS_OF_ALL_TIMES, ids=str)
def test_an_optional_member_is_not_added_in_the_same_version(form: Form) -> None:
    stored = json.loads(GOLDEN[form])
    for place in (stored["data"], *stored["data"].get("entries", ())):
        place["added"] = None
        with pytest.raises(UnreadableEvent) as raised:
            decode("main/a/b", 1, form.topic, json.dumps(stored).encode(), 1)
        assert raised.value.reason == "unreadable"
        del place["added"]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.TOPIC)
def test_an_example_is_read_as_what_it_is(event: Event) -> None:
    stored = GOLDEN[Form(event.TOPIC, event.class_version)]
    assert decode("main/a/b", 1, event.TOPIC, stored, 1).event == event


@pytest.mark.parametrize("topic", SNAPSHOTS)
def test_a_snapshot_is_read_as_what_it_is(topic: str) -> None:
    assert decode_snapshot(GOLDEN[Form(topic, None)]) == SNAPSHOTS[topic]


def test_examples_leave_nothing_to_defaults_and_nothing_empty() -> None:
    """Nothing pins the stored form of a member that no example shows."""
    assert {event.TOPIC for event in EVENTS} == set(EVENT_TYPES)
    stored: list[type[Struct]] = [Envelope, *EVENT_TYPES.values()]
    for members in stored:
        assert all(field.required for field in fields(members)), members


def test_the_golden_file_has_one_line_for_each_form() -> None:
    lines = GOLDEN_FILE.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(GOLDEN)
    assert all(set(json.loads(line)) == {"topic", "class_version", "state"} for line in lines)


def test_recording_adds_what_is_missing_and_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "golden.jsonl"
    one, other = Form("account.opened", 1), Form("account.opened", 2)
    assert record({one: "ü\n".encode()}, file) == [one]
    first_line = file.read_text(encoding="utf-8")
    assert record({other: b"{}"}, file) == [other]
    assert record({other: b"{}"}, file) == []
    assert file.read_text(encoding="utf-8").startswith(first_line)
    assert golden(file) == {one: "ü\n".encode(), other: b"{}"}


def test_recording_refuses_to_change_a_line(tmp_path: Path) -> None:
    file = tmp_path / "golden.jsonl"
    one, other = Form("account.opened", 1), Form("account.opened", 2)
    record({one: b"then"}, file)
    before = file.read_bytes()
    with pytest.raises(Mismatch, match="class_version"):
        record({one: b"now", other: b"new"}, file)
    assert file.read_bytes() == before


def command(file: Path) -> "subprocess.CompletedProcess[str]":
    top = Path(__file__).parents[2]
    arguments = [sys.executable, "-m", "tests.upgrade.record", str(file)]
    return subprocess.run(arguments, cwd=top, capture_output=True, text=True, timeout=60)


def test_the_command_completes_a_file_and_leaves_a_complete_one_alone(tmp_path: Path) -> None:
    file = tmp_path / "golden.jsonl"
    file.write_bytes(b"".join(GOLDEN_FILE.read_bytes().splitlines(keepends=True)[1:]))
    first = next(iter(GOLDEN))
    assert command(file).stdout == f"added {first.topic} {first.class_version}\n"
    assert golden(file) == GOLDEN
    complete = file.read_bytes()
    run = command(file)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert file.read_bytes() == complete


def test_the_command_fails_when_bytes_have_changed(tmp_path: Path) -> None:
    file = tmp_path / "golden.jsonl"
    file.write_bytes(GOLDEN_FILE.read_bytes().replace(b"shop", b"till"))
    run = command(file)
    assert run.returncode == 1 and "class_version" in run.stderr
