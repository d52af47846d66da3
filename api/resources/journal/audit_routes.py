"""Proofs that nobody rewrote the journal: signed checkpoints of its Merkle tree, and proof paths."""

import re
from email.utils import format_datetime
from functools import partial
from typing import Annotated, Any

from psycopg import Connection
from pydantic import Field

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import OVERSEER, Concerns, Returns
from api.http.endpoint import endpoint
from api.http.fields import MAX_POSITION, InstallationQuery, Page, Time
from api.http.pages import page_at_head, reflected
from api.http.responses import HEAD, POSITION, TEXT, Answer, json_answer
from api.http.spanning.spans import Spans
from api.resources.examples import page_of
from api.resources.journal import examples
from api.resources.journal.audit_schemas import (
    CheckpointBody,
    CheckpointQuery,
    CheckpointsQuery,
    ConsistencyProofBody,
    GrowthQuery,
    InclusionProofBody,
    InclusionQuery,
    WitnessedEventBody,
    WitnessedQuery,
    WitnessesBody,
    checkpoint_body,
    growth_body,
    inclusion_body,
    witnessed_body,
)
from api.resources.journal.event_schemas import event_body
from domain.journal.reader import head_of
from domain.model.times import moment
from projections.errors import CheckpointNotFound, ProjectionBehind, WitnessedLogNotFound
from projections.read_models.event_history import journal_event
from projections.read_models.seals import PROJECTION
from projections.running.positions import progress
from projections.transparency import checkpoints, proofs
from projections.transparency.checkpoints import Signed
from projections.witnessing import logs

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_Version = Annotated[int, Field(strict=True, ge=1, le=MAX_POSITION)]
_Place = tuple[Time, Annotated[int, Field(strict=True, ge=1, le=MAX_POSITION)]]


@endpoint(
    "GET",
    "/v1/audit/checkpoint",
    summary="Get the newest checkpoint",
    tag="Audit",
    consistency=Consistency.JOURNAL,
    roles=OVERSEER,
    returns=[Returns(200, "The signed note.", None, examples.CHECKPOINT, media_type="text/plain")],
    concerns=Concerns.NONE,
    spans=Spans.CHOSEN,
)
async def get_checkpoint(call: Call[CheckpointQuery, None]) -> Answer:
    """Get the newest checkpoint: a C2SP signed note with the journal's size and the root hash of its Merkle tree.

    A checkpoint is signed at most about a second after the events that it covers. `min_position` waits for a checkpoint
    that covers a position. Keep the note: with it you can later prove that the journal has only grown since.
    """
    wanted = call.query.min_position or 0
    wait_seconds = call.prefer.wait_seconds if call.query.min_position is not None else 0.0
    look = partial(call.service.look_up, checkpoints.read_newest)
    signed = await call.service.checkpoints.covering(wanted, look, wait_seconds)
    if signed is None or signed.size < wanted:
        raise await _behind(call, signed)
    head = await call.service.look_up(head_of)
    return Answer(200, signed.note.encode(), _within(signed.size, head), media_type=TEXT)


async def _behind(call: Call[CheckpointQuery, None], signed: Signed | None) -> ProjectionBehind:
    seen = await call.service.look_up(partial(progress, name=PROJECTION.name))
    return ProjectionBehind(signed.size if signed else 0, seen.head, seen.state)


@endpoint(
    "GET",
    "/v1/audit/checkpoints",
    summary="List all checkpoints",
    tag="Audit",
    consistency=Consistency.PROCESS,
    roles=OVERSEER,
    returns=[Returns(200, "A page of checkpoints.", Page[CheckpointBody], page_of(examples.PAST_CHECKPOINT))],
    concerns=Concerns.NONE,
    place=_Place,
    spans=Spans.CHOSEN,
)
async def list_checkpoints(call: Call[CheckpointsQuery, None]) -> Answer:
    """List all checkpoints ever signed, with note and time, in the order of signing.

    One is signed about a second after something was recorded, at most once a second. None is ever deleted.
    """
    query = call.query
    read = partial(
        checkpoints.list_checkpoints,
        since=query.since,
        until=query.until,
        after=call.cursor_position,
        limit=query.page_size + 1,
        descending=query.descending,
    )
    found = await call.service.look_up_at_head(read)
    return page_at_head(call, found, checkpoint_body, lambda row: (row.signed_at, row.number))


@endpoint(
    "GET",
    "/v1/audit/checkpoints/{size}",
    summary="Get a checkpoint by its size",
    tag="Audit",
    consistency=Consistency.PROCESS,
    roles=OVERSEER,
    returns=[
        Returns(
            200,
            "The signed note.",
            None,
            examples.CHECKPOINT,
            headers=("Last-Modified",),
            media_type="text/plain",
        )
    ],
    problems=[CheckpointNotFound],
    concerns=Concerns.NONE,
    spans=Spans.CHOSEN,
)
async def get_past_checkpoint(call: Call[InstallationQuery, None]) -> Answer:
    """Get the checkpoint of the first `size` events: the signed note. Last-Modified says when it was signed.

    Not every size was signed; the list of checkpoints shows which were.
    """
    size = call.path_params["size"]
    if not _SIZE.fullmatch(size) or int(size) > MAX_POSITION:
        raise CheckpointNotFound
    found = await call.service.look_up_at_head(partial(checkpoints.read_of_size, size=int(size)))
    signed_at = format_datetime(moment(found.found.signed_at), usegmt=True)
    headers = {"Last-Modified": signed_at, **_within(found.found.size, found.head)}
    return Answer(200, found.found.note.encode(), headers, media_type=TEXT)


@endpoint(
    "GET",
    "/v1/audit/proofs/inclusion",
    summary="Prove that an event is in the journal",
    tag="Audit",
    consistency=Consistency.JOURNAL,
    roles=OVERSEER,
    returns=[Returns(200, "The proof.", InclusionProofBody, examples.INCLUSION)],
    concerns=Concerns.NONE,
    spans=Spans.CHOSEN,
)
async def prove_inclusion(call: Call[InclusionQuery, None]) -> Answer:
    """Prove that an event stands at its position in the journal of a checkpoint."""
    query = call.query
    prove = partial(proofs.prove_inclusion, position=query.position, size=query.size)
    found = await call.service.look_up_at_head(prove)
    return json_answer(200, inclusion_body(found.found), _within(found.found.size, found.head))


def _within(size: int, head: int) -> dict[str, str]:
    """Return the headers of an answer about the first `size` events, given the newest position just before it."""
    return {POSITION: str(size), HEAD: str(max(size, head))}


@endpoint(
    "GET",
    "/v1/audit/proofs/consistency",
    summary="Prove that the journal has only grown",
    tag="Audit",
    consistency=Consistency.JOURNAL,
    roles=OVERSEER,
    returns=[Returns(200, "The proof.", ConsistencyProofBody, examples.GROWTH)],
    concerns=Concerns.NONE,
    spans=Spans.CHOSEN,
)
async def prove_consistency(call: Call[GrowthQuery, None]) -> Answer:
    """Prove that the journal has only grown: a later checkpoint's journal begins with an earlier one's."""
    query = call.query
    prove = partial(proofs.prove_growth, first=query.first, second=query.second)
    found = await call.service.look_up_at_head(prove)
    return json_answer(200, growth_body(found.found), _within(found.found.second, found.head))


@endpoint(
    "GET",
    "/v1/audit/verifier-key",
    summary="Get the keys to verify checkpoints with",
    tag="Audit",
    consistency=Consistency.PROCESS,
    roles=OVERSEER,
    returns=[Returns(200, "The keys.", None, examples.VERIFIER_KEY, media_type="text/plain")],
    concerns=Concerns.NONE,
    spans=Spans.CHOSEN,
)
async def get_verifier_key(call: Call[InstallationQuery, None]) -> Answer:
    """Get the public keys that verify checkpoints, one on each line, as vkeys of C2SP signed notes.

    The newest key comes first. Older keys that signed before stay listed. Keep a copy: whoever could replace the keys
    here could have signed anything.
    """
    found = await call.service.look_up_at_head(checkpoints.read_verifiers)
    lines = "".join(f"{verifier}\n" for verifier in found.found)
    return Answer(200, lines.encode(), reflected(found), media_type=TEXT)


@endpoint(
    "GET",
    "/v1/audit/witnesses",
    summary="List the logs that are witnessed",
    tag="Audit",
    consistency=Consistency.JOURNAL,
    roles=OVERSEER,
    returns=[Returns(200, "The logs.", WitnessesBody, {"own_size": 41, "logs": [examples.WITNESSED_LOG]})],
    concerns=Concerns.NONE,
    spans=Spans.CHOSEN,
)
async def get_witnesses(call: Call[InstallationQuery, None]) -> Answer:
    """Get the logs of other installations that this one witnesses, with the newest checkpoint recorded of each.

    Whoever owns one of them cannot rewrite what it covers without contradicting this journal.
    """
    found = await call.service.look_up_at_head(_witnesses)
    return json_answer(200, found.found, reflected(found))


def _witnesses(connection: Connection[Any]) -> WitnessesBody:
    recorded = logs.read_logs(connection)
    shown = [witnessed_body(look, recorded.get(look.name)) for look in logs.read_looks(connection)]
    return {"own_size": logs.own_size(connection), "logs": shown}


@endpoint(
    "GET",
    "/v1/audit/witnesses/{log}/events",
    summary="List what was recorded of a witnessed log",
    tag="Audit",
    consistency=Consistency.JOURNAL,
    roles=OVERSEER,
    returns=[Returns(200, "A page of events.", Page[WitnessedEventBody], page_of(examples.WITNESSED_EVENT))],
    problems=[WitnessedLogNotFound],
    concerns=Concerns.NONE,
    place=_Version,
    spans=Spans.CHOSEN,
)
async def list_witnessed(call: Call[WitnessedQuery, None]) -> Answer:
    """List every event of a witnessed log: checkpoints witnessed, disputes, and what operators decided about them.

    With `--witness`, `tallystick verify` checks the other installation's journal against them.
    """
    query = call.query
    read = partial(
        logs.read_events,
        name=call.path_params["log"],
        after=call.cursor_position,
        limit=query.page_size + 1,
        descending=query.descending,
    )
    found = await call.service.look_up_at_head(read)
    return page_at_head(call, found, lambda row: event_body(journal_event(row)), lambda row: row[1])
