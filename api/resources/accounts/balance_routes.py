"""Balances at a time and across accounts, read from projections."""

from functools import partial
from typing import Annotated

from pydantic import Field

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import READER, Returns
from api.http.endpoint import endpoint
from api.http.fields import Asset, Page
from api.http.pages import projected_page, reflected
from api.http.read_your_writes import read_projection
from api.http.responses import Answer, json_answer
from api.resources.accounts import examples
from api.resources.accounts.balance_schemas import (
    AccountBalanceBody,
    AtQuery,
    GroupBalanceBody,
    GroupsQuery,
    TrialBalanceBody,
    account_balance_body,
    group_balance_body,
    trial_balance_body,
)
from api.resources.examples import page_of
from domain.model.errors import AccountNotFound
from domain.model.streams import ADDRESS_PATTERN, MAX_ADDRESS_LENGTH, account_stream, ledger_stream
from projections.read_models.balances_at import posted_at, trial_balance
from projections.read_models.groups import GroupPlace, list_groups

_Place = tuple[
    Annotated[str, Field(pattern=f"^(?:{ADDRESS_PATTERN[1:-1]})?$", max_length=MAX_ADDRESS_LENGTH)], Asset
]


@endpoint(
    "GET",
    "/v1/ledgers/{ledger}/accounts/{address}/balance",
    summary="Read an account's balance at a time",
    tag="Balances",
    consistency=Consistency.PROJECTION,
    roles=READER,
    returns=[Returns(200, "The balance.", AccountBalanceBody, examples.ACCOUNT_BALANCE)],
    problems=[AccountNotFound],
)
async def get_balance(call: Call[AtQuery, None]) -> Answer:
    """Show what was posted to an account up to a time, inclusive. Before the account was opened: zeros.

    `clock` chooses what the time means. By the effective clock an entry counts from its `effective_at`, which may lie
    in the future.
    """
    query, address = call.query, call.path_params["address"]
    read = partial(posted_at, ledger=call.ledger, account=address, clock=query.clock, at=query.at)
    existing = [ledger_stream(call.ledger), account_stream(call.ledger, address)]
    found = await read_projection(call, "entries", read, existing)
    account, _ = await call.service.read(call.service.ledger.account, call.ledger, address)
    return json_answer(200, account_balance_body(account, query.clock, found), reflected(found))


@endpoint(
    "GET",
    "/v1/ledgers/{ledger}/balances",
    summary="Sum the balances of groups of accounts",
    tag="Balances",
    consistency=Consistency.PROJECTION,
    roles=READER,
    returns=[Returns(200, "A page of groups.", Page[GroupBalanceBody], page_of(examples.GROUP_BALANCE))],
    place=_Place,
)
async def list_balances(call: Call[GroupsQuery, None]) -> Answer:
    """List what was posted to groups of accounts: one row for each group and asset.

    A group is named by the first segments of its accounts' addresses. An address with fewer segments is a group of its
    own. Without `group_by` there is one row for each asset.
    """
    query = call.query
    read = partial(
        list_groups,
        ledger=call.ledger,
        segments=query.segments,
        prefix=query.prefix,
        asset=query.asset,
        after=GroupPlace(*call.cursor_position) if call.cursor_position else None,
        limit=query.page_size + 1,
        descending=query.descending,
    )
    found = await read_projection(call, "balances", read, [ledger_stream(call.ledger)])
    return projected_page(call, found, group_balance_body, lambda group: group.place)


@endpoint(
    "GET",
    "/v1/ledgers/{ledger}/trial-balance",
    summary="Read the trial balance",
    tag="Balances",
    consistency=Consistency.PROJECTION,
    roles=READER,
    returns=[Returns(200, "The totals of each asset.", TrialBalanceBody, examples.TRIAL_BALANCE)],
)
async def get_trial_balance(call: Call[AtQuery, None]) -> Answer:
    """Show the totals of a ledger up to a time, inclusive. In each asset, debits equal credits.

    One row for each asset. Assets without an entry by then are left out.
    """
    query = call.query
    read = partial(trial_balance, ledger=call.ledger, clock=query.clock, at=query.at)
    found = await read_projection(call, "entries", read, [ledger_stream(call.ledger)])
    return json_answer(200, trial_balance_body(found), reflected(found))
