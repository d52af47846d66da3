"""Payouts: request and show them; operators resolve them."""

from collections.abc import Callable
from functools import partial
from typing import Any

from api.http import examples
from api.http.consistency import Consistency
from api.http.declaration import OPERATOR, POSTER, READER, Declaration, NoQuery, Returns
from api.http.disclosure import payout_as_told
from api.http.endpoint import Call, Endpoint
from api.http.responses import POSITION, Answer, etag, is_unchanged, json_answer
from api.resources.payouts.answers import payout_answer
from api.resources.payouts.schemas import (
    Failing,
    PayoutBody,
    PayoutRequest,
    Reconciling,
    Resolving,
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
from domain.model.payouts.requests import RequestPayout
from domain.model.payouts.resolutions import NOT_PAID, CompletePayout, FailPayout, ReconcilePayout, Resolution
from domain.model.transactions import Description
from projections.process_managers.payer import new_nonce


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
        body.account,
        body.amount,
        body.provider,
        body.destination,
        # The random part makes the key differ from the one that another installation makes for the same idempotency
        # key.
        f"{call.ledger}.{operation.id}.{new_nonce()}",
        body.provider in call.service.providers,
    )
    perform = writer.try_out if call.query.dry_run else writer.perform
    return payout_answer(await perform(command))


async def get_payout(call: Call[NoQuery, None]) -> Answer:
    """Show one payout, with its history. It is read from the journal, so every write acknowledged before is seen."""
    ledger = call.service.ledger
    payout, head = await call.service.read(ledger.payout, call.ledger, call.path_params["id"])
    headers = {POSITION: str(head), "ETag": etag(payout.version)}
    known = call.headers.get(b"if-none-match")
    if known is not None and is_unchanged(known.decode("latin-1"), payout.version):
        return Answer(304, headers=headers)
    return json_answer(200, payout_body(payout_as_told(payout, call.caller)), headers)


async def reconcile_payout(call: Call[NoQuery, Reconciling]) -> Answer:
    """Ask the provider now what became of a payout, whatever its state.

    If the answer contradicts the record, the payout becomes stuck. If it agrees with the books, a stuck payout is
    resolved.
    """
    return await _resolve(call, ReconcilePayout)


async def complete_payout(call: Call[NoQuery, Resolving]) -> Answer:
    """Say that the money of a payout has left. Its hold is settled; if it was already voided, the amount is posted.

    Idempotent: completing a completed payout records nothing.
    """
    return await _resolve(call, CompletePayout)


async def fail_payout(call: Call[NoQuery, Failing]) -> Answer:
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


def _resolution(
    verb: str, summary: str, body: type[Reconciling | Resolving | Failing], *problems: type[LedgerError]
) -> Declaration:
    return Declaration(
        "POST",
        f"/v1/ledgers/{{ledger}}/payouts/{{id}}/{verb}",
        f"{verb}_payout",
        "Payouts",
        summary,
        Consistency.LINEARIZABLE,
        OPERATOR,
        (Returns(200, "The payout.", PayoutBody, examples.PAYOUT, ("ETag",)),),
        body=body,
        body_example={
            "reason": "the provider's statement of 24 November shows it",
            **({"confirm": NOT_PAID} if body is Failing else {}),
        },
        is_body_optional=True,
        problems=(PayoutNotFound, PayoutEnded, *problems),
    )


_RULES_OF_ACCOUNTS = (AccountClosed, AccountFrozen, AmountOverflow, InsufficientFunds, BalanceLimitExceeded)

ENDPOINTS = [
    Endpoint(
        Declaration(
            "POST",
            "/v1/ledgers/{ledger}/payouts",
            "request_payout",
            "Payouts",
            "Request a payout",
            Consistency.LINEARIZABLE,
            POSTER,
            (
                Returns(
                    202,
                    "The payout is accepted, and its amount is held.",
                    PayoutBody,
                    examples.PAYOUT,
                    ("ETag", "Location", "Retry-After"),
                ),
            ),
            query=TransactionQuery,
            body=PayoutRequest,
            body_example=examples.PAYOUT_REQUEST,
            is_keyed=True,
            problems=(AccountNotFound, AccountExists, *_RULES_OF_ACCOUNTS),
        ),
        request_payout,
    ),
    Endpoint(
        Declaration(
            "GET",
            "/v1/ledgers/{ledger}/payouts/{id}",
            "get_payout",
            "Payouts",
            "Show a payout",
            Consistency.LINEARIZABLE,
            READER | OPERATOR,
            (
                Returns(200, "The payout.", PayoutBody, examples.PAYOUT, ("ETag",)),
                Returns(304, "The payout is unchanged: If-None-Match has its ETag.", headers=("ETag",)),
            ),
            problems=(PayoutNotFound,),
        ),
        get_payout,
    ),
    Endpoint(_resolution("reconcile", "Ask the provider about a payout", Reconciling), reconcile_payout),
    Endpoint(
        _resolution("complete", "Say that a payout was paid", Resolving, *_RULES_OF_ACCOUNTS),
        complete_payout,
    ),
    Endpoint(
        _resolution(
            "fail",
            "Say that a payout was not paid",
            Failing,
            NotReversible,
            AmountExceedsReversible,
            *_RULES_OF_ACCOUNTS,
        ),
        fail_payout,
    ),
]
