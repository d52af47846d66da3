"""Freeze, unfreeze and close accounts. Idempotent, so no idempotency key is needed."""

from api.http import examples
from api.http.consistency import Consistency
from api.http.declaration import CLIENT, Declaration, NoQuery, Returns
from api.http.endpoint import Call, Endpoint
from api.http.responses import Answer
from api.resources.accounts.answers import expected_version, shown
from api.resources.accounts.schemas import AccountBody, StatusChange
from domain.model.accounts import ChangeStatus, Status
from domain.model.errors import AccountClosed, AccountNotEmpty, AccountNotFound, LedgerError, VersionMismatch


async def freeze_account(call: Call[NoQuery, StatusChange]) -> Answer:
    """Freeze an account: it refuses everything but voids and expiries. Idempotent."""
    return await _change(call, "frozen")


async def unfreeze_account(call: Call[NoQuery, StatusChange]) -> Answer:
    """Unfreeze an account. Idempotent."""
    return await _change(call, "open")


async def close_account(call: Call[NoQuery, StatusChange]) -> Answer:
    """Close an account for ever. Its balance must be zero, with nothing pending. Idempotent."""
    return await _change(call, "closed")


async def _change(call: Call[NoQuery, StatusChange], status: Status) -> Answer:
    ledger, address = call.ledger, call.path_params["address"]
    version = await expected_version(call, ledger, address)
    command = ChangeStatus(call.context, ledger, address, status, call.body.reason, version)
    outcome = await call.service.writer.perform(command)
    return shown(outcome.state, outcome.position)


def _declared(verb: str, summary: str, *problems: type[LedgerError]) -> Declaration:
    return Declaration(
        "POST",
        f"/v1/ledgers/{{ledger}}/accounts/{{address}}/{verb}",
        f"{verb}_account",
        "Accounts",
        summary,
        Consistency.LINEARIZABLE,
        CLIENT,
        (Returns(200, "The account.", AccountBody, examples.ACCOUNT, ("ETag",)),),
        body=StatusChange,
        body_example={"reason": "customer's request"},
        is_body_optional=True,
        if_match=True,
        problems=(AccountNotFound, VersionMismatch, *problems),
    )


ENDPOINTS = [
    Endpoint(_declared("freeze", "Freeze an account", AccountClosed), freeze_account),
    Endpoint(_declared("unfreeze", "Unfreeze an account", AccountClosed), unfreeze_account),
    Endpoint(_declared("close", "Close an account", AccountNotEmpty), close_account),
]
