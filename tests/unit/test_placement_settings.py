"""The setting that names the installations of a placement: what it takes, and what is said of what it does not."""

import json
from typing import Any

import pytest
import typer
from pydantic import ValidationError

from api.settings import MAX_INSTALLATIONS, Settings, usual_projectors
from domain.journal.database import Database
from domain.placement.installations import MAIN, Installation
from scripts.console import settings_or_exit
from scripts.serving.serve import places

EAST, WEST = "postgresql://books@east/x", "postgresql://books@west/x"


def placed(monkeypatch: pytest.MonkeyPatch, installations: Any, **more: Any) -> Settings:
    text = installations if isinstance(installations, str) else json.dumps(installations)
    monkeypatch.setenv("TALLYSTICK_INSTALLATIONS", text)
    return Settings(**more)


def test_without_it_there_is_one_installation() -> None:
    settings = Settings(database_url=EAST, schema_="books")
    assert not settings.is_placement
    assert settings.placed() == (Installation(MAIN, Database(EAST, "books")),)


def test_they_are_in_order_and_share_what_they_leave_out(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"west": {"schema": "w"}, "east": {"database_url": EAST}, "north": {}}
    settings = placed(monkeypatch, named, database_url=WEST, schema_="books")
    assert settings.placed() == (
        Installation("west", Database(WEST, "w")),
        Installation("east", Database(EAST, "books")),
        Installation("north", Database(WEST, "books")),
    )
    assert settings.database == Database(WEST, "w")


def test_one_that_is_named_is_a_placement_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = placed(monkeypatch, {"east": {}}, database_url=EAST)
    assert settings.is_placement and [found.name for found in settings.placed()] == ["east"]


def test_each_has_a_nats_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Home has the one that it had when it was alone."""
    named = {
        "west": {"schema": "w"},
        "east": {"schema": "e"},
        "north": {"schema": "n", "nats_stream": "NORTH", "nats_subject": "books.north"},
    }
    settings = placed(monkeypatch, named, nats_subject="books.all")
    assert settings.stream_of("west") == ("TALLYSTICK", "books.all")
    assert settings.stream_of("east") == ("TALLYSTICK-east", "books.all-east")
    assert settings.stream_of("north") == ("NORTH", "books.north")
    installations = settings.placed(EAST)
    of_north = places("publisher", settings, installations[2:], installations)
    assert (of_north["TALLYSTICK_NATS_STREAM"], of_north["TALLYSTICK_NATS_SUBJECT"]) == (
        "NORTH",
        "books.north",
    )


@pytest.mark.parametrize(
    ("of_west", "words"),
    [
        ({"nats_stream": "A" * 120}, "east and west would share a NATS stream or its subjects"),
        ({"nats_stream": "W", "nats_subject": "tallystick"}, "east and west would share"),
        ({"nats_stream": "W", "nats_subject": "tallystick.west"}, "east and west would share"),
        ({}, "the NATS stream of west-of-the-sea has too long a name"),
    ],
)
def test_streams_that_a_broker_would_refuse_are_refused_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, of_west: Any, words: str
) -> None:
    west = "west" if of_west else "west-of-the-sea"
    named = {"east": {"schema": "e"}, west: {"schema": "w", **of_west}}
    placed(monkeypatch, named, nats_stream="A" * 120)
    with pytest.raises(ValidationError, match=words):
        placed(monkeypatch, named, nats_stream="A" * 120, nats_url="nats://127.0.0.1:4222")


@pytest.mark.parametrize(
    ("named", "is_needed"),
    [
        ({}, True),
        ({"east": {"database_url": EAST}}, False),
        ({"east": {"database_url": EAST}, "west": {}}, True),
    ],
)
def test_the_embedded_database_is_for_those_without_a_url(
    monkeypatch: pytest.MonkeyPatch, named: Any, is_needed: bool
) -> None:
    settings = placed(monkeypatch, named)
    assert settings.needs_embedded == is_needed
    assert all(found.database.url in (EAST, "embedded") for found in settings.placed("embedded"))
    assert not placed(monkeypatch, named, database_url=WEST).needs_embedded


@pytest.mark.parametrize(
    ("installations", "words"),
    [
        ({"East": {}}, "String should match pattern"),
        ({"1st": {}}, "String should match pattern"),
        ({"": {}}, "String should match pattern"),
        ({"a" * 33: {}}, "String should match pattern"),
        ({"east": {"schema": "Bad"}}, "String should match pattern"),
        ({"east": {"url": EAST}}, "Extra inputs are not permitted"),
        ({"east": EAST}, "Input should be"),
        ({f"i{n}": {"schema": f"s{n}"} for n in range(MAX_INSTALLATIONS + 1)}, "at most 64"),
        ({"east": {}, "west": {}}, "east and west are the same schema of the same database"),
        ({"east": {"schema": "e", "nats_stream": "a b"}}, "String should match pattern"),
        (
            {"east": {"database_url": EAST}, "west": {"database_url": "postgres://other@east:/x"}},
            "east and west are the same schema of the same database",
        ),
    ],
)
def test_it_is_refused(monkeypatch: pytest.MonkeyPatch, installations: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        placed(monkeypatch, installations, database_url=EAST)


@pytest.mark.parametrize(
    ("installations", "said"),
    [
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ('{"east": {}, "west": {"schema": "west"}, "east": {"schema": "other"}}', "has east twice"),
        ('{"east": {"schema": "a", "schema": "b"}}', "has schema twice"),
        ('{"S3cret": {}, "S3cret": {}}', "has a name twice"),
        ({"east": {"database_url": ""}}, "east: database_url: String should have at least 1 character"),
        (
            {"east": {"database_url": "postgresql://u:s3cret@h/x?sslmod=1"}},
            "east: database_url: is a PostgreSQL URL",
        ),
        ({"east": {"schema": "S3cret"}}, "east: schema: String should match pattern"),
        ({"east": {"S3cret": 1}}, "east: (not a name): Extra inputs"),
        ({"S3cret": {}}, "(not a name): String should match pattern"),
        ({"east": {}, "west": {}}, "east and west are the same schema"),
    ],
)
def test_a_command_says_what_is_wrong_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], installations: Any, said: str
) -> None:
    text = installations if isinstance(installations, str) else json.dumps(installations)
    monkeypatch.setenv("TALLYSTICK_INSTALLATIONS", text)
    with pytest.raises(typer.Exit) as ended:
        settings_or_exit()
    assert ended.value.exit_code == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"tallystick: TALLYSTICK_INSTALLATIONS: {said}"), shown
    assert "s3cret" not in shown.lower()


def test_a_command_that_is_told_a_database_works_on_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_INSTALLATIONS", json.dumps({"east": {"database_url": EAST}}))
    tellings: list[dict[str, Any]] = [
        {"database_url": WEST},
        {"schema_": "w"},
        {"database_url": WEST, "schema_": "w"},
    ]
    for told in tellings:
        assert not settings_or_exit(**told).is_placement
        assert settings_or_exit(of_placement=True, **told).is_placement
    assert settings_or_exit().database == Database(EAST, "tallystick")


def test_projectors_are_shared_out_unless_they_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"east": {}, "west": {"schema": "w"}}
    assert placed(monkeypatch, named).projectors_each == max(1, usual_projectors() // 2)
    assert placed(monkeypatch, named, projectors=3).projectors_each == 3
    assert placed(monkeypatch, {}, projectors=3).projectors_each == 3
