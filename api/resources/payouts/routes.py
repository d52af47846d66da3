"""Payouts: request and show them; operators resolve them."""

from collections.abc import Callable
from functools import partial
from typing import Any

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import OPERATOR, POSTER, READER, NoQuery, Returns, unchanged
from api.http.disclosure import payout_as_told
from api.http.endpoint import endpoint
from api.http.fields import OptionalReason, RequiredReason
from api.http.responses import POSITION, Answer, etag, json_answer
from api.resources.payouts import examples
from api.resources.payouts.answers import payout_answer
from api.resources.payouts.objections import objection_to
from api.resources.payouts.schemas import (
    PayoutBody,
    PayoutFailure,
    PayoutRequest,
    payout_body,
)
from api.resources.transactions.commands import operation_of
from api.resources.transactions.schemas import TransactionQuery
from domain.model.errors import (
    AccountClosed,
    AccountExists,
    AccountFrozen,
    AccountNotFound,
    AmountExceedsReversible,
    AmountOverflow,
    BalanceLimitExceeded,
    InsufficientFunds,
    LedgerError,
    NotReversible,
    PayoutEnded,
    PayoutNotFound,
)
from domain.model.payouts.bridges import BRIDGE
from domain.model.payouts.requests import RequestPayout
from domain.model.payouts.resolutions import NOT_PAID, CompletePayout, FailPayout, ReconcilePayout, Resolution
from domain.model.transactions import Description
from projections.process_managers.payer import new_nonce

_RULES_OF_ACCOUNTS: tuple[type[LedgerError], ...] = (
    AccountClosed,
    AccountFrozen,
    AmountOverflow,
    InsufficientFunds,
    BalanceLimitExceeded,
)
_SHOWN_BY_STATEMENT = {"reason": "the provider's statement of 24 November shows it"}
_resolution = partial(
    endpoint,
    "POST",
    tag="Payouts",
    consistency=Consistency.LINEARIZABLE,
    roles=OPERATOR,
    returns=[Returns(200, "The payout.", PayoutBody, examples.PAYOUT, headers=("ETag",))],
    is_body_optional=True,
)


@endpoint(
    "POST",
    "/v1/ledgers/{ledger}/payouts",
    summary="Request a payout",
    tag="Payouts",
    consistency=Consistency.LINEARIZABLE,
    roles=POSTER,
    returns=[
        Returns(
            202,
            "The payout is accepted, and its amount is held.",
            PayoutBody,
            examples.PAYOUT,
            headers=("ETag", "Location", "Retry-After"),
        )
    ],
    problems=[AccountNotFound, AccountExists, *_RULES_OF_ACCOUNTS],
    body_example=examples.PAYOUT_REQUEST,
    is_keyed=True,
)
async def request_payout(call: Call[TransactionQuery, PayoutRequest]) -> Answer:
    """Hold an amount of an account, and have a provider pay it out once the hold is durable.

    The answer is the payout as it was accepted. Read the payout again to see what became of it. If the provider does
    not answer, the payout is in doubt and the provider is asked until it answers. The hold ends once: it is settled
    when the payout is completed, and voided when the payout failed. A refusal by a business rule is recorded: the same
    request gets it for ever.
    """
    writer, body = call.service.writer, call.body
    operation = operation_of(call.ledger, call.key, call.path, call.raw_body)
    command = RequestPayout(
        call.context,
        call.ledger,
        operation,
        Description(reference=body.reference, metadata=body.metadata),
        account=body.account,
        amount=body.amount,
        provider=body.provider,
        destination=body.destination,
        objection=await objection_to(call),
    )
    if call.query.dry_run:
        return payout_answer(await writer.try_out(command))
    outcome = await writer.perform(command)
    if body.provider == BRIDGE and outcome.recorded:
        call.service.payer.hand_over(outcome.state)
    return payout_answer(outcome)


@endpoint(
    "GET",
    "/v1/ledgers/{ledger}/payouts/{id}",
    summary="Show a payout",
    tag="Payouts",
    consistency=Consistency.LINEARIZABLE,
    roles=READER | OPERATOR,
    returns=[
        Returns(200, "The payout.", PayoutBody, examples.PAYOUT, headers=("ETag",)),
        unchanged("payout"),
    ],
    problems=[PayoutNotFound],
)
async def get_payout(call: Call[NoQuery, None]) -> Answer:
    """Show one payout, with its history. It is read from the journal, so every write acknowledged before is seen."""
    ledger = call.service.ledger
    payout, head = await call.service.read(ledger.payout, call.ledger, call.path_params["id"])
    headers = {POSITION: str(head), "ETag": etag(payout.version)}
    return json_answer(200, payout_body(payout_as_told(payout, call.caller)), headers)


@_resolution(
    "/v1/ledgers/{ledger}/payouts/{id}/reconcile",
    summary="Ask the provider about a payout",
    problems=[PayoutNotFound, PayoutEnded],
    body_example=_SHOWN_BY_STATEMENT,
)
async def reconcile_payout(call: Call[NoQuery, OptionalReason]) -> Answer:
    """Ask the provider now what became of a payout, whatever its state.

    If the answer contradicts the record, the payout becomes stuck. If it agrees with the books, a stuck payout is
    resolved.
    """
    return await _resolve(call, ReconcilePayout)


@_resolution(
    "/v1/ledgers/{ledger}/payouts/{id}/complete",
    summary="Say that a payout was paid",
    problems=[PayoutNotFound, PayoutEnded, *_RULES_OF_ACCOUNTS],
    body_example=_SHOWN_BY_STATEMENT,
)
async def complete_payout(call: Call[NoQuery, RequiredReason]) -> Answer:
    """Say that the money of a payout has left. Its hold is settled; if it was already voided, the amount is posted.

    Idempotent: completing a completed payout records nothing.
    """
    return await _resolve(call, CompletePayout)


@_resolution(
    "/v1/ledgers/{ledger}/payouts/{id}/fail",
    summary="Say that a payout was not paid",
    problems=[PayoutNotFound, PayoutEnded, NotReversible, AmountExceedsReversible, *_RULES_OF_ACCOUNTS],
    body_example={**_SHOWN_BY_STATEMENT, "confirm": NOT_PAID},
)
async def fail_payout(call: Call[NoQuery, PayoutFailure]) -> Answer:
    """Say that the money of a payout has not left and will not. Its hold is voided; if it was already settled, that is
    reversed.

    While the payout is submitted or in doubt, the money may have left. The request must then confirm that it has not:
    `"confirm": "not_paid"`. Idempotent: failing a failed payout records nothing.
    """
    return await _resolve(call, partial(FailPayout, confirmed=call.body.confirm == NOT_PAID))


async def _resolve(call: Call[NoQuery, Any], command: Callable[..., Resolution]) -> Answer:
    seen, _ = await call.service.read(call.service.ledger.payout, call.ledger, call.path_params["id"])
    outcome = await call.service.writer.perform(command(call.context, seen, new_nonce(), call.body.reason))
    payout = payout_as_told(outcome.state, call.caller)
    headers = {POSITION: str(outcome.position), "ETag": etag(payout.version)}
    return json_answer(200, payout_body(payout), headers)
