"""The list of accounts with their balances, as `domain.model.accounts.Account` has them.

Rows are folded with the aggregate's own `evolve`, so an account reads the same here as in a confirmation read.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from msgspec import json
from msgspec.structs import astuple
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from domain.journal.arrays import bigint_array, text_array
from domain.model.accounts import EVENTS, Account, AccountOpened, Status, evolve
from domain.model.events import Recorded
from domain.model.streams import account_stream
from domain.model.times import instant
from projections.engine.live_version import Page, Reading, Rows, read_live, read_rows
from projections.engine.projection import Inconsistent, Projection, Queries, directed

MAX_PLANNED_ONCE = 500

_NUMBERS = ("posted_debits", "posted_credits", "pending_debits", "pending_credits", "version", "position")
_NUMBERS_OF = attrgetter(*_NUMBERS)
_OTHERS_OF = attrgetter("status", "metadata", "min_balance")  # both limits always change together
_UNCHANGED: Any = object()
# An account about which nothing is known, from its asset to its opening event. Null means unchanged. Limits can be
# changed to null, so they have a mark of their own.
_UNKNOWN: tuple[Any, ...] = (None, None, None, _UNCHANGED, _UNCHANGED, None, 0, 0, 0, 0, None, None)
_METADATA, _OPENED_AT, _OPENING = map(Account.__struct_fields__.index, ("metadata", "opened_at", "opening"))


def list_accounts(
    connection: Connection[Any],
    ledger: str,
    *,
    prefix: str | None = None,
    asset: str | None = None,
    status: Status | None = None,
    metadata: Mapping[str, str] | None = None,
    after: str | None = None,
    limit: int,
    descending: bool = False,
    most_bytes: int | None = None,
    existing: Sequence[str] = (),
) -> Page[Account]:
    """Return up to `limit` accounts by address that come after the address `after`.

    `prefix` is the beginning of the address. All pairs of `metadata` must be in the account's. A filter that is null or
    empty filters nothing. The page ends early with the account that makes it larger than `most_bytes`, unless that is
    None. `existing` is as for `read_live`.
    """
    wanted = {
        "ledger": ledger,
        "prefix": prefix or None,
        "asset": asset,
        "status": status,
        "metadata": json.encode(metadata).decode() if metadata else None,
        "after": after,
        "limit": limit,
    }

    def read(cursor: Cursor[TupleRow], version: int) -> Rows[TupleRow]:
        query = directed(PROJECTION.queries(version)["list"], descending=descending)
        return read_rows(cursor, query, wanted, most_bytes)

    reading = read_live(connection, PROJECTION, read, existing=existing)
    return Page(reading.found.read_as(map(_account, reading.found)), *reading[1:])


def read_account(
    connection: Connection[Any], ledger: str, address: str, *, existing: Sequence[str] = ()
) -> Reading[Account | None]:
    """Return an account as the projection shows it, or None if it has none, with the position and the head.

    `existing` is as for `read_live`.
    """
    wanted = {"ledgers": [ledger], "addresses": [address]}
    reading = read_live(
        connection,
        PROJECTION,
        lambda cursor, version: PROJECTION.queries(version)["find"].row(cursor, wanted),
        account_stream(ledger, address),
        existing,
    )
    account = None if reading.found is None else _account(reading.found)
    return Reading(account, *reading[1:])


def project(connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
    """Add the accounts that events open, and apply the other events to their accounts' rows.

    No row is read. The events of an account are folded with `evolve` onto an empty account about which nothing is
    known, and the result is added to the row. Raises `Inconsistent` unless each changed row is at the version before
    the first of its events. Events of disjoint sets of streams may be projected at once.
    """
    opened: dict[str, Account] = {}
    changed: dict[str, Account] = {}
    first: dict[str, Recorded] = {}
    for recorded in events:
        stream = recorded.stream
        accounts = opened if recorded.version == 1 or stream in opened else changed
        if stream in accounts:
            account = evolve(_before(accounts[stream], recorded), recorded)
        elif accounts is opened:
            account = evolve(None, recorded)
        else:
            first[stream] = recorded
            account = evolve(_unknown(recorded), recorded)
        accounts[stream] = account
    if opened:
        _add(connection, queries, opened.values())
    if changed:
        _move(connection, queries, changed.values(), first.values())
    if altered := [account for account in changed.values() if _is_altered(account)]:
        connection.cursor().executemany(queries["alter"], map(_alteration, altered))


def _before(account: Account, recorded: Recorded) -> Account:
    if recorded.version != account.version + 1:
        raise Inconsistent(f"{recorded.stream} is not at the version before event {recorded.position}")
    return account


def _unknown(recorded: Recorded) -> Account:
    ledger, _, address = recorded.stream.split("/", 2)
    return Account(*(ledger, address, *_UNKNOWN, recorded.version - 1, 0))


def _add(connection: Connection[Any], queries: Queries, opened: Iterable[Account]) -> None:
    with connection.cursor().copy(queries["add"]) as copy:
        for account in opened:
            row = list(astuple(account))
            for number in (_METADATA, _OPENING):
                row[number] = json.encode(row[number]).decode()
            copy.write_row(row)


def _move(
    connection: Connection[Any],
    queries: Queries,
    accounts: Collection[Account],
    first: Collection[Recorded],
) -> None:
    """Add amounts to rows; raise `Inconsistent` if a row is not at the version before its `first` event."""
    numbers = zip(*map(_NUMBERS_OF, accounts), strict=True)
    columns = {
        "ledger": text_array(account.ledger for account in accounts),
        "address": text_array(account.address for account in accounts),
        **dict(zip(_NUMBERS, map(bigint_array, numbers), strict=True)),
        "expected": bigint_array([recorded.version - 1 for recorded in first]),
    }
    # Planning is a third of the cost of a few rows. For many rows the plan is made anew, for the table's present size.
    is_planned_once = len(accounts) <= MAX_PLANNED_ONCE
    found = queries["move"].rows(connection, columns, prepare=is_planned_once)
    if len(found) < len(accounts):
        numbers_found = {number for (number,) in found}
        missed = next(event for number, event in enumerate(first, start=1) if number not in numbers_found)
        raise Inconsistent(f"{missed.stream} is not at the version before event {missed.position}")


def _is_altered(account: Account) -> bool:
    """Tell whether anything other than amounts has changed."""
    altered: bool = _OTHERS_OF(account) != (None, None, _UNCHANGED)
    return altered


def _alteration(account: Account) -> dict[str, Any]:
    status, metadata, minimum = _OTHERS_OF(account)
    limited = minimum is not _UNCHANGED
    return {
        "ledger": account.ledger,
        "address": account.address,
        "status": status,
        "limited": limited,
        "min_balance": minimum if limited else None,
        "max_balance": account.max_balance if limited else None,
        "metadata": None if metadata is None else json.encode(metadata).decode(),
    }


def _account(row: TupleRow) -> Account:
    """Return the account of a row. Its JSON comes as text, because parsing it here takes a fifth of the time."""
    values = list(row)
    values[_METADATA] = json.decode(values[_METADATA])
    values[_OPENED_AT] = instant(values[_OPENED_AT])
    values[_OPENING] = AccountOpened(**json.decode(values[_OPENING]))
    return Account(*values)


PROJECTION = Projection("balances", __name__, EVENTS, ("balances",), project, by_stream=True)
