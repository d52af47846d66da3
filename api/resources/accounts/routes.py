"""Accounts: open, show, change and list them."""

from functools import partial
from typing import Any

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import CLIENT, READER, NoQuery, Returns, unchanged
from api.http.endpoint import endpoint
from api.http.fields import Address, Page
from api.http.pages import PAGE_BYTES, projected_page, reflected
from api.http.read_your_writes import held_back, read_projection
from api.http.responses import HEAD, Answer
from api.resources.accounts import examples
from api.resources.accounts.answers import expected_version, shown
from api.resources.accounts.schemas import (
    AccountBody,
    AccountChange,
    AccountQuery,
    AccountRequest,
    AccountsQuery,
    account_body,
)
from api.resources.examples import page_of
from domain.model.accounts import Account, AccountOpened, ChangeAccount, OpenAccount, require_order
from domain.model.errors import (
    AccountClosed,
    AccountExists,
    AccountNotFound,
    AssetScaleConflict,
    VersionMismatch,
)
from domain.model.refusals import account_not_found
from domain.model.streams import ledger_stream
from projections.engine.live_version import Reading
from projections.errors import ProjectionBehind
from projections.read_models import balances

_SHOWN = Returns(200, "The account.", AccountBody, examples.ACCOUNT, headers=("ETag",))


@endpoint(
    "GET",
    "/v1/ledgers/{ledger}/accounts/{address}",
    summary="Show an account",
    tag="Accounts",
    consistency=Consistency.CHOSEN,
    roles=READER,
    returns=[_SHOWN, unchanged("account")],
    problems=[AccountNotFound],
)
async def get_account(call: Call[AccountQuery, None]) -> Answer:
    """Show one account. It is read from the journal, so every write acknowledged before is seen.

    `consistency=eventual` reads the projection instead. `at_position` or `at` show the account as it stood at a
    position or at a recorded time, folded from the journal. A time before the account was opened is 404; one in the
    future is 422. Ledger-Position is the position that the answer reflects.

    The same question about the past gets the same answer at any time. Only an instant that has just passed may still
    gain a commit that is under way.
    """
    ledger, address = call.ledger, call.path_params["address"]
    if call.query.consistency == "eventual":
        return await _get_projected_account(call, ledger, address)
    if call.query.past is None:
        account, head = await call.service.read(call.service.ledger.account, ledger, address)
        position = head
    else:
        account, position, head = await call.service.read(
            call.service.ledger.account_at, ledger, address, call.query.past
        )
    if call.query.min_position is not None and call.query.min_position > head:
        raise ProjectionBehind(head, head, "running")  # the named position is not recorded yet, perhaps never
    return shown(account, position, headers={HEAD: str(head)})


async def _get_projected_account(call: Call[AccountQuery, None], ledger: str, address: str) -> Answer:
    found: Reading[Account | None] = await read_projection(
        call,
        "balances",
        partial(balances.read_account, ledger=ledger, address=address),
        [ledger_stream(ledger)],
    )
    if found.found is None:
        if found.lacking.held:  # the event that opens it could not be applied
            raise held_back(found)
        missing = account_not_found(ledger, address)
        missing.position = found.position
        raise missing
    return shown(found.found, found.position, headers=reflected(found))


@endpoint(
    "PATCH",
    "/v1/ledgers/{ledger}/accounts/{address}",
    summary="Change an account",
    tag="Accounts",
    consistency=Consistency.LINEARIZABLE,
    roles=CLIENT,
    returns=[_SHOWN],
    problems=[AccountNotFound, VersionMismatch, AccountClosed],
    body_example={"metadata": {"customer": "42"}, "min_balance": -5000},
    if_match=True,
)
async def change_account(call: Call[NoQuery, AccountChange]) -> Answer:
    """Change limits or metadata. Members left out stay as they are; `metadata` is replaced whole.

    A request that changes nothing records nothing.
    """
    ledger, address = call.ledger, call.path_params["address"]
    # The two limits in the request are compared first. They are compared with the account's other limit once that is
    # known.
    require_order(call.body.min_balance, call.body.max_balance)
    changes: dict[str, Any] = {name: getattr(call.body, name) for name in call.body.model_fields_set}
    version = await expected_version(call, ledger, address)
    command = ChangeAccount(call.context, ledger, address, **changes, if_version=version)
    outcome = await call.service.writer.perform(command)
    return shown(outcome.state, outcome.position)


@endpoint(
    "POST",
    "/v1/ledgers/{ledger}/accounts",
    summary="Open an account",
    tag="Accounts",
    consistency=Consistency.LINEARIZABLE,
    roles=CLIENT,
    returns=[
        Returns(201, "The account was opened.", AccountBody, examples.ACCOUNT, headers=("ETag", "Location")),
        Returns(
            200, "The account was already open.", AccountBody, examples.ACCOUNT, headers=("ETag", "Location")
        ),
    ],
    problems=[AccountExists, AssetScaleConflict],
    body_example=examples.ACCOUNT_REQUEST,
)
async def open_account(call: Call[NoQuery, AccountRequest]) -> Answer:
    """Open an account. Idempotent: repeating it with the same attributes answers 200 with the account as it is now."""
    body = call.body
    require_order(body.min_balance, body.max_balance)
    opening = AccountOpened(
        asset=body.asset,
        normal_side=body.normal_side,
        min_balance=body.min_balance,
        max_balance=body.max_balance,
        metadata=body.metadata,
    )
    command = OpenAccount(call.context, call.ledger, body.address, opening)
    outcome = await call.service.writer.perform(command)
    location = f"/v1/ledgers/{call.ledger}/accounts/{body.address}"
    return shown(outcome.state, outcome.position, 201 if outcome.recorded else 200, {"Location": location})


@endpoint(
    "GET",
    "/v1/ledgers/{ledger}/accounts",
    summary="List accounts",
    tag="Accounts",
    consistency=Consistency.PROJECTION,
    roles=READER,
    returns=[Returns(200, "A page of accounts.", Page[AccountBody], page_of(examples.ACCOUNT))],
    place=Address,
)
async def list_accounts(call: Call[AccountsQuery, None]) -> Answer:
    """List the accounts of a ledger, by address. Filters are combined."""
    query = call.query
    read = partial(
        balances.list_accounts,
        ledger=call.ledger,
        prefix=query.prefix or None,
        asset=query.asset or None,
        status=query.status or None,
        metadata=query.metadata,
        after=call.cursor_position,
        limit=query.page_size + 1,
        most_bytes=PAGE_BYTES,
        descending=query.descending,
    )
    found = await read_projection(call, "balances", read, [ledger_stream(call.ledger)])
    return projected_page(call, found, account_body, lambda account: account.address)
