"""Witnesses over HTTP: what is shown of them, and a service that somebody else owns as a log to be witnessed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from domain.journal.reader import head_of
from domain.transparency.cosignatures import cosigned_at
from domain.transparency.signed_notes import Verifier, text_of, verified
from projections.transparency.checkpoints import read_verifiers
from projections.witnessing.logs import watch
from projections.witnessing.service_log import ServiceLog
from projections.witnessing.settings import WitnessedSettings
from projections.witnessing.witness import witness_all
from tests.contract.answers import code_of
from tests.contract.books import Book
from tests.contract.serving import KEY, Served, serving
from tests.databases import Databases
from tests.integration.exporting import exported, run
from tests.integration.witnessing import Installation, installation
from tests.projecting import eventually

WITNESSES = "/v1/audit/witnesses"


@pytest.fixture(scope="module")
def east(databases: Databases) -> Iterator[Served]:
    """A service of this module: it witnesses others, and is witnessed."""
    with serving(databases) as served:
        yield served


@pytest.fixture
def west(databases: Databases) -> Iterator[Installation]:
    with installation(databases, "west") as made:
        made.seal()
        yield made


@pytest.fixture
def client(east: Served) -> Iterator[httpx2.Client]:
    with east.client() as client:
        yield client


def look_from(east: Served, west: Installation, name: str) -> None:
    """Let the service look once at a log, as its projector would."""
    with ThreadPoolExecutor(1) as threads, east.database.connect("test witness") as connection:
        watch(connection, name)
        witness_all(connection, [west.log()._replace(name=name)], (), threads)


def await_sealed(client: httpx2.Client, position: int) -> None:
    answer = client.get(
        "/v1/audit/checkpoint", params={"min_position": position}, headers={"Prefer": "wait=30"}
    )
    assert answer.status_code == 200, answer.text


def log(east: Served, **given: str) -> ServiceLog:
    """The service as a log that somebody else owns."""
    settings = WitnessedSettings.model_validate({"url": east.url, "api_key": KEY, **given})
    return ServiceLog("east", settings)


def test_what_was_witnessed_is_shown_with_both_signatures(
    east: Served, west: Installation, client: httpx2.Client
) -> None:
    eventually(lambda: bool(client.get("/v1/audit/verifier-key").text))
    look_from(east, west, "shown")
    (shown,) = [each for each in client.get(WITNESSES).json()["logs"] if each["name"] == "shown"]
    assert (shown["size"], shown["seen_size"], shown["dispute"], shown["last_error"]) == (4, 4, None, None)
    own = Verifier.parse(client.get("/v1/audit/verifier-key").text.splitlines()[0])
    (event,) = client.get(f"{WITNESSES}/shown/events").json()["data"]
    theirs = [Verifier.parse(vkey) for vkey in event["payload"]["verifiers"]]
    assert verified(shown["note"], theirs) == text_of(event["payload"]["note"])
    assert cosigned_at(shown["note"].splitlines()[-1], text_of(shown["note"]), own) > 1_700_000_000
    assert (event["position"], event["recorded_at"]) == (shown["position"], shown["recorded_at"])
    assert event["ledger"] is None and event["stream"] == "-/witnesses/shown"


def test_records_of_witnessing_are_not_in_the_trail_of_keys(
    east: Served, west: Installation, client: httpx2.Client
) -> None:
    look_from(east, west, "trail")
    trail = client.get("/v1/audit/events", params={"page_size": 1000}).json()["data"]
    assert trail and {event["type"].partition(".")[0] for event in trail} == {"key"}


def test_a_log_that_nobody_witnesses_is_not_found(client: httpx2.Client) -> None:
    answer = client.get(f"{WITNESSES}/nobody/events")
    assert (answer.status_code, code_of(answer)) == (404, "witnessed_log_not_found")


def test_a_service_of_another_owner_is_witnessed(
    east: Served, west: Installation, client: httpx2.Client, tmp_path: Path
) -> None:
    vkey = client.get("/v1/audit/verifier-key").text.splitlines()[0]
    book = Book(client, "witnessed")
    assert client.post("/v1/ledgers", json={"name": "witnessed"}).status_code == 201
    for address in ("a", "b"):
        book.open(address)
    await_sealed(client, book.transfer("a", "b", 1).json()["position"])
    configured = log(east, verifier_key=vkey)
    for _ in range(3):
        west.look(configured)
    assert [record.event.basis for record in west.records()] == ["configured"]  # type: ignore[attr-defined]
    await_sealed(client, book.transfer("a", "b", 1).json()["position"])
    # What the service records of others does not count.
    look_from(east, west, "other")
    west.look(configured)
    assert [record.event.basis for record in west.records()][1:] == ["grown"]  # type: ignore[attr-defined]
    west.look(configured)
    west.look(configured)
    assert len(west.records()) == 2
    size = west.witnessed("east").size
    with east.database.connect("test head") as connection:
        await_sealed(client, head_of(connection))
    file = tmp_path / "east.ndjson"
    file.write_bytes(exported(east.database))
    said = run("verify", file, "--witness", f"{west.database.url}#{west.database.schema}")
    assert said.exit_code == 0 and f"up to position {size}," in said.stdout


def test_verify_asks_a_witness_that_is_a_service(east: Served, west: Installation, tmp_path: Path) -> None:
    look_from(east, west, "asked")
    size = west.seal()
    file = tmp_path / "west.ndjson"
    file.write_bytes(exported(west.database))
    said = run("verify", file, "--witness", east.url, "--witness-api-key", KEY)
    assert said.exit_code == 0, said.output
    assert f"Fixed by {east.url.removeprefix('http://')} up to position {size}" in said.stdout
    refused = run("verify", file, "--witness", east.url)
    assert refused.exit_code == 3 and "unauthenticated" in refused.output


def test_the_key_of_one_witness_is_shown_to_no_other(
    east: Served, west: Installation, tmp_path: Path
) -> None:
    file = tmp_path / "west.ndjson"
    file.write_bytes(exported(west.database))
    witnesses = ("--witness", east.url, "--witness", "http://127.0.0.1:1")
    said = run("verify", file, *witnesses, "--witness-api-key", KEY)
    assert said.exit_code == 3 and "for one service, and 2 are given" in said.output


def test_one_that_cannot_be_witnessed_says_why(east: Served, west: Installation) -> None:
    foreign = "tallystick/x+5a5ba3d0+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
    with pytest.raises(ValueError, match="no verifier"):
        log(east, verifier_key=foreign)
    own = str(read_verifiers(west.connection)[0])
    for broken, why in (
        (log(east, verifier_key=own), "configured key"),
        (log(east, api_key="tk_none"), "answered 401"),
        (log(east, url="http://127.0.0.1:1"), "no answer: ConnectError"),
    ):
        west.connection.execute("UPDATE witnessed_logs SET last_error = NULL")
        west.look(broken)
        assert why in (west.looked("east").last_error or "")
    assert west.records() == []
