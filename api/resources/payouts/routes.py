"""Payouts: ask for one, look at one, and, for operators, resolve one."""

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
    """Hold an amount of an account, and have it paid out through a provider once that is durable.

    The answer is the payout as it was accepted; look at it again for what became of it. A provider that does not answer
    leaves it in doubt, and is asked until it does. Its hold ends once: settled when the payout is completed, voided
    when it failed. A refusal by a business rule is recorded, and is the answer to the same request for ever.
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
        # With a part that is random: what another installation asks for under the same key is another payout.
        f"{call.ledger}.{operation.id}.{new_nonce()}",
        body.provider in call.service.providers,
    )
    perform = writer.try_out if call.query.dry_run else writer.perform
    return payout_answer(await perform(command))


async def get_payout(call: Call[NoQuery, None]) -> Answer:
    """Look at one payout, with its history. A confirmation read."""
    ledger = call.service.ledger
    payout, head = await call.service.read(ledger.payout, call.ledger, call.path_params["id"])
    headers = {POSITION: str(head), "ETag": etag(payout.version)}
    known = call.headers.get(b"if-none-match")
    if known is not None and is_unchanged(known.decode("latin-1"), payout.version):
        return Answer(304, headers=headers)
    return json_answer(200, payout_body(payout_as_told(payout, call.caller)), headers)


async def reconcile_payout(call: Call[NoQuery, Reconciling]) -> Answer:
    """Have the provider asked now what became of a payout, whatever is known of it.

    An answer that contradicts what was recorded makes the payout stuck; one that agrees with the books resolves one
    that is.
    """
    return await _resolve(call, ReconcilePayout)


async def complete_payout(call: Call[NoQuery, Resolving]) -> Answer:
    """Say that the money of a payout has left. Its hold is settled or, had it been given back, the amount is posted.

    Completing a completed one records nothing.
    """
    return await _resolve(call, CompletePayout)


async def fail_payout(call: Call[NoQuery, Failing]) -> Answer:
    """Say that the money of a payout has not left and will not. Its hold is voided or, had it been settled, reversed.

    While the payout is submitted or in doubt the money may have left, and whoever fails it confirms that it has not:
    `"confirm": "not_paid"`. Failing a failed one records nothing.
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
            "Pay out",
            Consistency.LINEARIZABLE,
            POSTER,
            (
                Returns(
                    202,
                    "The payout is accepted, and its amount held.",
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
            "Look at a payout",
            Consistency.LINEARIZABLE,
            READER | OPERATOR,
            (
                Returns(200, "The payout.", PayoutBody, examples.PAYOUT, ("ETag",)),
                Returns(304, "The payout is as If-None-Match knows it.", headers=("ETag",)),
            ),
            problems=(PayoutNotFound,),
        ),
        get_payout,
    ),
    Endpoint(_resolution("reconcile", "Ask the provider now", Reconciling), reconcile_payout),
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
