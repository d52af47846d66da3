"""Batches: many keyed requests in one, carried out all together or each by itself."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json

from api.http.body import BATCH_BODY_BYTES, BATCH_BODY_VALUES
from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import POSTER, Returns
from api.http.endpoint import endpoint
from api.http.responses import POSITION, REPLAYED, Answer, json_answer
from api.problems import MEDIA_TYPE, InternalError, problem, problem_of
from api.resources.transactions import examples
from api.resources.transactions.answers import operation_body, rejection_problem, transactions_path
from api.resources.transactions.batch_schemas import (
    BatchRequest,
    BatchResultBody,
    BatchResultsBody,
    PostItem,
    ReverseItem,
    SettleItem,
    VoidItem,
)
from api.resources.transactions.commands import on_transaction, operation_of, post
from api.resources.transactions.schemas import TransactionQuery, transaction_body
from api.resources.transactions.usual_bodies import UsualItem, usual_batch
from domain.commit.decider import Result
from domain.model.commands import Command, Outcome
from domain.model.errors import BatchRejected, LedgerError, LedgerMoved, LedgerNotFound, Unavailable
from domain.model.transactions import Acceptance

Item = PostItem | SettleItem | VoidItem | ReverseItem | UsualItem


@endpoint(
    "POST",
    "/v1/ledgers/{ledger}/transactions/batch",
    summary="Carry out many requests",
    tag="Transactions",
    consistency=Consistency.LINEARIZABLE,
    roles=POSTER,
    returns=[
        Returns(
            200,
            "What became of each item.",
            BatchResultsBody,
            examples.BATCH,
            headers=("Idempotent-Replayed",),
        )
    ],
    problems=[BatchRejected],
    body_example=examples.BATCH_REQUEST,
    max_body_bytes=BATCH_BODY_BYTES,
    max_body_values=BATCH_BODY_VALUES,
    usual_body=usual_batch,
)
async def post_batch(call: Call[TransactionQuery, BatchRequest]) -> Answer:
    """Carry out keyed requests in order. Later items see earlier ones. Each item is the same keyed request as its
    single form.

    `independent`: each item succeeds or is refused by itself. Beyond 1,000 items the batch takes several commits, and
    other requests may be carried out between them. `atomic`: all items succeed, or nothing is recorded, the keys stay
    free, and the answer is 409 `batch_rejected` with the index and the problem of the first item that failed.
    """
    service, body = call.service, call.body
    commands = await service.read(_commands, call)
    results = await service.writer.perform_together(
        commands, all_or_none=body.mode == "atomic", dry_run=call.query.dry_run
    )
    first = results[0]
    if isinstance(moved := results[-1], LedgerMoved):
        raise moved  # what was carried out before has its first answer at the new place too
    if isinstance(first, BatchRejected):
        if isinstance(first.cause, _OF_THE_WHOLE):
            raise first.cause
        return _batch_rejected(call, first)
    if isinstance(first, Exception) and (
        body.mode == "atomic" or all(isinstance(result, _OF_THE_WHOLE) for result in results)
    ):
        raise first
    return await service.read(_answer, call, results)


# Refusals of the whole batch: it names the ledger, and an unreachable journal concerns every item.
_OF_THE_WHOLE = (LedgerNotFound, Unavailable)


def _commands(call: Call[TransactionQuery, BatchRequest]) -> list[Command]:
    sent = call.raw_body["transactions"]
    return [_command(call, item, sent[index]) for index, item in enumerate(call.body.transactions)]


def _command(call: Call[Any, Any], item: Item, sent: dict[str, Any]) -> Command:
    """Return the command of an item: the same as for a request to the item's own path."""
    alone = {**sent}
    del alone["idempotency_key"]
    alone.pop(item.verb, None)
    operation = operation_of(call.ledger, item.idempotency_key, _path(call.ledger, item), alone)
    if isinstance(item, PostItem | UsualItem):
        return post(call.context, call.ledger, operation, item)
    return on_transaction(call.context, call.ledger, operation, getattr(item, item.verb), item)


def _path(ledger: str, item: Item) -> str:
    path, verb = transactions_path(ledger), item.verb
    return f"{path}/{getattr(item, verb)}/{verb}" if verb else path


def _answer(call: Call[TransactionQuery, BatchRequest], results: Sequence[Result]) -> Answer:
    shown = [
        _result_body(call, index, item, result)
        for index, (item, result) in enumerate(zip(call.body.transactions, results, strict=True))
    ]
    positions = (getattr(result, "position", None) for result in results)
    headers = {POSITION: str(max(filter(None, positions), default=call.service.position()))}
    if all(isinstance(result, Outcome) and result.replayed for result in results):
        headers[REPLAYED] = "true"
    return json_answer(200, {"results": shown}, headers)


def _result_body(call: Call[Any, Any], index: int, item: Item, result: Result) -> BatchResultBody:
    if isinstance(result, Exception):
        error = result if isinstance(result, LedgerError) else InternalError()
        refusal = _problem(call, item, error) | {"index": index}
        return {"status": refusal["status"], "replayed": False, "problem": refusal}
    made = result.state
    if isinstance(made, Acceptance):
        return {"status": 202, "replayed": result.replayed, "operation": operation_body(made)}
    if made.rejection is not None:
        refusal = rejection_problem(made) | {"index": index}
        return {"status": refusal["status"], "replayed": result.replayed, "problem": refusal}
    return {"status": 201, "replayed": result.replayed, "transaction": transaction_body(made)}


def _batch_rejected(call: Call[Any, Any], rejected: BatchRejected) -> Answer:
    item, cause = call.body.transactions[rejected.index], rejected.cause
    if isinstance(cause, Outcome):
        inner = rejection_problem(cause.state)
        if not cause.replayed:  # nothing is recorded, so no transaction can be read
            del inner["transaction_id"]
    else:
        inner = _problem(call, item, cause if isinstance(cause, LedgerError) else InternalError())
    members = {"index": rejected.index, "problem": inner | {"index": rejected.index}}
    body = problem(rejected.code, rejected.detail, call.path, call.context.correlation_id, members)
    return Answer(body["status"], to_json(body), {POSITION: str(rejected.position)}, MEDIA_TYPE)


def _problem(call: Call[Any, Any], item: Item, error: LedgerError) -> Any:
    return problem_of(error, quote(_path(call.ledger, item)), call.context.correlation_id)
