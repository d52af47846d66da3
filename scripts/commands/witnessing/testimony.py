"""The testimony of witnesses, for `tallystick verify`: read from an export, a service, or a database."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
import psycopg
import typer

from domain.journal.database import Database
from domain.model.times import Instant
from domain.transparency.checkpoints import Checkpoint, claimed
from domain.transparency.export_format import Malformed, read_event
from domain.transparency.signed_notes import InvalidNote, Verifier
from projections.audit.stored import Stored, Unfoldable, parsed
from projections.exports.export_file import ExportFile
from projections.exports.verification import Verified
from projections.witnessing.logs import history
from projections.witnessing.testimony import Testimony, testimonies
from scripts.commands.developers.service import TIMEOUT_SECONDS, is_key, said
from scripts.commands.export_output import opened
from scripts.console import fail
from scripts.doctor.finding import Finding

WITNESSES = "/v1/audit/witnesses"
_OF_SERVICES = ("http", "https")

Witnesses = Annotated[
    list[str] | None,
    typer.Option(
        "--witness",
        metavar="FILE|URL",
        help="Another installation that has witnessed this one: its export, the URL of its service, or of its database"
        " (postgresql://…#SCHEMA); repeat for several",
    ),
]
WitnessKey = Annotated[
    str | None,
    typer.Option(
        "--witness-api-key",
        envvar="TALLYSTICK_WITNESS_API_KEY",
        parser=is_key,
        metavar="KEY",
        help="An API key of the role auditor, for witnesses that are services",
    ),
]


class Witness(NamedTuple):
    """What one witness says of the log: its name as it is shown, and its testimony, the smallest checkpoint first."""

    name: str
    said: Sequence[Testimony]

    @property
    def notes(self) -> list[str]:
        """The notes of the checkpoints that it recorded."""
        return [testimony.note for testimony in self.said]

    @property
    def verifiers(self) -> list[Verifier]:
        """The keys that it knew to be the log's."""
        vkeys = dict.fromkeys(vkey for testimony in self.said for vkey in testimony.verifiers)
        try:
            return [Verifier.parse(vkey) for vkey in vkeys]
        except InvalidNote as error:
            fail(f"{self.name}: what it says of a key is no key: {error}")


class Fixed(NamedTuple):
    """How far a witness fixes the past of the log: the size of the checkpoint, and when the witness recorded it."""

    name: str
    size: int
    recorded_at: Instant

    def __str__(self) -> str:
        return f"Fixed by {self.name} up to position {self.size}, at {self.recorded_at}."


def asked(given: Sequence[str] | None, api_key: str | None, origins: Collection[str]) -> list[Witness]:
    """Return what each witness says of the log with one of these origins. If one cannot be read, say so and exit 3.

    The API key is one of a single service, which no other must get.
    """
    services = {_place(text) for text in given or () if text.partition("://")[0] in _OF_SERVICES}
    if api_key and len(services) > 1:
        fail(f"an API key is for one service, and {len(services)} are given: verify with one at a time")
    return [_asked(text, api_key, origins) for text in given or ()]


def origins_of(file: ExportFile, verifiers: Sequence[Verifier]) -> set[str]:
    """Return the origins under which the journal of an export may have been witnessed."""
    origins = {verifier.name for verifier in verifiers}
    try:
        return origins | {claimed(file.seal.checkpoint or "").origin}
    except InvalidNote:
        return origins


def findings_of(witnesses: Sequence[Witness], verified: Verified) -> Iterator[Finding]:
    """Yield a finding for each witness that knows nothing of the log, and for each whose testimony it contradicts."""
    for name, said_of_log in witnesses:
        if not said_of_log:
            yield Finding("witness_unaware", f"{name} has recorded no checkpoint of this log")
        against = [each for each in said_of_log if _is_of(each, verified.contradicted)]
        for testimony in against[:1]:
            words = f"{name} recorded a checkpoint of {testimony.size} events at {testimony.recorded_at}"
            words += f", at its position {testimony.position}: this journal has other events"
            if verified.agreed:
                words += f" somewhere from position {verified.agreed.size + 1} to {testimony.size}"
            yield Finding("witness_contradicts", words)


def fixed_by(witnesses: Sequence[Witness], verified: Verified) -> list[Fixed]:
    """Return how far each witness fixes the past, as the verification found."""
    agreed = verified.agreed.size if verified.agreed else 0
    best = [(name, [each for each in said_of_log if each.size <= agreed]) for name, said_of_log in witnesses]
    return [Fixed(name, within[-1].size, within[-1].recorded_at) for name, within in best if within]


def _is_of(testimony: Testimony, checkpoint: Checkpoint | None) -> bool:
    try:
        return checkpoint is not None and claimed(testimony.note) == checkpoint
    except InvalidNote:
        return False


def _asked(text: str, api_key: str | None, origins: Collection[str]) -> Witness:
    scheme = text.partition("://")[0]
    if scheme in _OF_SERVICES:
        name, events = _place(text), _of_service(text, api_key)
    elif scheme in ("postgresql", "postgres"):
        name, events = _name_of_database(text), _of_database(text)
    else:
        name, events = text, _of_file(Path(text))
    try:
        return Witness(name, testimonies(events, origins))
    except (Unfoldable, AttributeError, KeyError, TypeError, ValueError) as error:
        fail(f"{name}: it is not the journal of a witness: {error}")


def _place(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _of_file(path: Path) -> Iterator[Stored]:
    with opened(path) as file:
        for place, line in file.lines():
            if b'"type":"checkpoint.' not in line:
                continue
            try:
                event, _ = read_event(line)
            except Malformed as error:
                fail(f"{path}: the line at byte {place}: {error}")
            yield parsed(event.stream, event.version, event.topic, event.state, event.position)


def _of_database(url: str) -> Iterator[Stored]:
    address, _, schema = url.partition("#")
    database = Database(address, schema) if schema else Database(address)
    try:
        with database.connect("tallystick verify") as connection:
            yield from history(connection)
    except psycopg.Error as error:
        fail(f"{_name_of_database(url)} cannot be read: {error}")


def _name_of_database(url: str) -> str:
    parts = urlsplit(url)
    schema = f"#{parts.fragment}" if parts.fragment else ""
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}{schema}"


def _of_service(url: str, api_key: str | None) -> Iterator[Stored]:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    with httpx2.Client(
        base_url=url.rstrip("/"), headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False
    ) as client:
        for log in _answered(client, WITNESSES)["logs"]:
            cursor: str | None = ""
            while cursor is not None:
                query = {"page_size": "1000", **({"cursor": cursor} if cursor else {})}
                page = _answered(client, f"{WITNESSES}/{log['name']}/events", query)
                yield from map(_stored, page["data"])
                cursor = page["next_cursor"]


def _answered(client: httpx2.Client, path: str, query: Mapping[str, str] | None = None) -> Any:
    try:
        answer = client.get(path, params=query)
    except httpx2.HTTPError as error:
        fail(f"{client.base_url}{path} does not answer: {type(error).__name__}")
    if not answer.is_success:
        fail(f"GET {path}: {said(answer)}")
    return answer.json()


def _stored(item: dict[str, Any]) -> Stored:
    envelope = {"recorded_at": item["recorded_at"]}
    return Stored(item["stream"], item["version"], item["type"], item["position"], envelope, item["payload"])
