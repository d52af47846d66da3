"""Freeze, unfreeze and close accounts. Idempotent, so no idempotency key is needed."""

from functools import partial

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import CLIENT, NoQuery, Returns
from api.http.endpoint import endpoint
from api.http.fields import OptionalReason
from api.http.responses import Answer
from api.resources.accounts import examples
from api.resources.accounts.answers import expected_version, shown
from api.resources.accounts.schemas import AccountBody
from domain.model.accounts import ChangeStatus, Status
from domain.model.errors import AccountClosed, AccountNotEmpty, AccountNotFound, VersionMismatch

_change_of_status = partial(
    endpoint,
    "POST",
    tag="Accounts",
    consistency=Consistency.LINEARIZABLE,
    roles=CLIENT,
    returns=[Returns(200, "The account.", AccountBody, examples.ACCOUNT, headers=("ETag",))],
    body_example={"reason": "customer's request"},
    is_body_optional=True,
    if_match=True,
)


@_change_of_status(
    "/v1/ledgers/{ledger}/accounts/{address}/freeze",
    summary="Freeze an account",
    problems=[AccountNotFound, VersionMismatch, AccountClosed],
)
async def freeze_account(call: Call[NoQuery, OptionalReason]) -> Answer:
    """Freeze an account: it refuses everything but voids and expiries. Idempotent."""
    return await _change(call, "frozen")


@_change_of_status(
    "/v1/ledgers/{ledger}/accounts/{address}/unfreeze",
    summary="Unfreeze an account",
    problems=[AccountNotFound, VersionMismatch, AccountClosed],
)
async def unfreeze_account(call: Call[NoQuery, OptionalReason]) -> Answer:
    """Unfreeze an account. Idempotent."""
    return await _change(call, "open")


@_change_of_status(
    "/v1/ledgers/{ledger}/accounts/{address}/close",
    summary="Close an account",
    problems=[AccountNotFound, VersionMismatch, AccountNotEmpty],
)
async def close_account(call: Call[NoQuery, OptionalReason]) -> Answer:
    """Close an account for ever. Its balance must be zero, with nothing pending. Idempotent."""
    return await _change(call, "closed")


async def _change(call: Call[NoQuery, OptionalReason], status: Status) -> Answer:
    ledger, address = call.ledger, call.path_params["address"]
    version = await expected_version(call, ledger, address)
    command = ChangeStatus(call.context, ledger, address, status, reason=call.body.reason, if_version=version)
    outcome = await call.service.writer.perform(command)
    return shown(outcome.state, outcome.position)
