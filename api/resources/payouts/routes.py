"""Payouts: ask for one, look at one, and, for operators, resolve one."""

from collections.abc import Callable
from functools import partial
from typing import Any

from api.http import examples
from api.http.consistency import Consistency
from api.http.declaration import OPERATOR, POSTER, READER, Declaration, NoQuery, Returns
from api.http.disclosure import payout_as_told
from api.http.endpoint import Asked, Endpoint
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
from projections.process_managers.payer import new_mark


async def request_payout(asked: Asked[TransactionQuery, PayoutRequest]) -> Answer:
    """Hold an amount of an account, and have it paid out through a provider once that is durable.

    The answer is the payout as it was accepted; look at it again for what became of it. A provider that does not answer
    leaves it in doubt, and is asked until it does. Its hold ends once: settled when the payout is completed, voided
    when it failed. A refusal by a business rule is recorded, and is the answer to the same request for ever.
    """
    writer, body = asked.service.writer, asked.body
    operation = operation_of(asked.ledger, asked.key, asked.path, asked.sent)
    command = RequestPayout(
        asked.context,
        asked.ledger,
        operation,
        Description(reference=body.reference, metadata=body.metadata),
        body.account,
        body.amount,
        body.provider,
        body.destination,
        # With a part that is random: what another installation asks for under the same key is another payout.
        f"{asked.ledger}.{operation.id}.{new_mark()}",
        body.provider in asked.service.providers,
    )
    perform = writer.try_out if asked.query.dry_run else writer.perform
    return payout_answer(await perform(command))


async def get_payout(asked: Asked[NoQuery, None]) -> Answer:
    """Look at one payout, with its history. A confirmation read."""
    ledger = asked.service.ledger
    payout, head = await asked.service.read(ledger.payout, asked.ledger, asked.names["id"])
    headers = {POSITION: str(head), "ETag": etag(payout.version)}
    known = asked.headers.get(b"if-none-match")
    if known is not None and is_unchanged(known.decode("latin-1"), payout.version):
        return Answer(304, headers=headers)
    return json_answer(200, payout_body(payout_as_told(payout, asked.caller)), headers)


async def reconcile_payout(asked: Asked[NoQuery, Reconciling]) -> Answer:
    """Have the provider asked now what became of a payout, whatever is known of it.

    An answer that contradicts what was recorded makes the payout stuck; one that agrees with the books resolves one
    that is.
    """
    return await _resolve(asked, ReconcilePayout)


async def complete_payout(asked: Asked[NoQuery, Resolving]) -> Answer:
    """Say that the money of a payout has left. Its hold is settled or, had it been given back, the amount is posted.

    Completing a completed one records nothing.
    """
    return await _resolve(asked, CompletePayout)


async def fail_payout(asked: Asked[NoQuery, Failing]) -> Answer:
    """Say that the money of a payout has not left and will not. Its hold is voided or, had it been settled, reversed.

    While the payout is submitted or in doubt the money may have left, and whoever fails it confirms that it has not:
    `"confirm": "not_paid"`. Failing a failed one records nothing.
    """
    return await _resolve(asked, partial(FailPayout, confirmed=asked.body.confirm == NOT_PAID))


async def _resolve(asked: Asked[NoQuery, Any], command: Callable[..., Resolution]) -> Answer:
    seen, _ = await asked.service.read(asked.service.ledger.payout, asked.ledger, asked.names["id"])
    outcome = await asked.service.writer.perform(command(asked.context, seen, new_mark(), asked.body.reason))
    payout = payout_as_told(outcome.state, asked.caller)
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
