"""The list of accounts with their balances, as `domain.model.accounts.Account` has them.

Rows are folded with the aggregate's own `evolve`, so an account reads the same here as in a confirmation read.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from operator import add
from typing import Any

from msgspec import json
from msgspec.structs import astuple
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from domain.journal.arrays import bigint_array, text_array
from domain.journal.statements import statements_of
from domain.model.accounts import EVENTS, Account, AccountOpened, EntriesMoved, Status, evolve
from domain.model.events import Event, Recorded
from domain.model.streams import account_stream
from domain.model.times import instant
from projections.engine.live_version import Page, Reading, Rows, read_live, read_rows
from projections.engine.projection import Inconsistent, Projection, Queries, directed

MAX_PLANNED_ONCE = 500

_NUMBERS = (
    *("posted_debits", "posted_credits", "pending_debits", "pending_credits"),
    *("version", "position", "expected"),
)
_UNMOVED = (0, 0, 0, 0)
_NULL: Any = None
_UNCHANGED: Any = object()
# Null means unchanged. Limits can be changed to null, so they have a mark of their own.
_UNTOUCHED = Account("", "", "", "credit", _NULL, _UNCHANGED, _UNCHANGED, _NULL, 0, 0, 0, 0, "", _NULL, 0, 0)
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

    No row is read: what moves is added to the row, and other changes are set. Raises `Inconsistent` unless each changed
    row is at the version before the first of its events. Events of disjoint sets of streams may be projected at once.
    """
    opened: dict[str, Account] = {}
    changed: dict[str, list[Recorded]] = {}
    altered: dict[str, list[Recorded]] = {}
    for recorded in events:
        stream = recorded.stream
        if recorded.version == 1 or stream in opened:
            opened[stream] = _opened(opened.get(stream), recorded)
            continue
        if stream in changed:
            changed[stream].append(recorded)
        else:
            changed[stream] = [recorded]
        if not isinstance(recorded.event, EntriesMoved):
            altered[stream] = changed[stream]
    if opened:
        _add(connection, queries, opened.values())
    if changed:
        _move(connection, queries, changed.values())
    if altered:
        connection.cursor().executemany(queries["alter"], map(_alteration, altered.values()))


def _opened(account: Account | None, recorded: Recorded) -> Account:
    if recorded.version != (account.version if account else 0) + 1:
        raise _missed(recorded)
    return evolve(account, recorded)


def _missed(recorded: Recorded) -> Inconsistent:
    return Inconsistent(f"{recorded.stream} is not at the version before event {recorded.position}")


def _add(connection: Connection[Any], queries: Queries, opened: Iterable[Account]) -> None:
    with connection.cursor().copy(queries["add"]) as copy:
        for account in opened:
            row = list(astuple(account))
            for number in (_METADATA, _OPENING):
                row[number] = json.encode(row[number]).decode()
            copy.write_row(row)


def _move(connection: Connection[Any], queries: Queries, changed: Collection[Sequence[Recorded]]) -> None:
    """Add what the events of each account move; raise `Inconsistent` if a row is not at the version before them."""
    ledgers, addresses, *numbers = zip(*map(_change, changed), strict=True)
    columns = {
        "ledger": text_array(ledgers),
        "address": text_array(addresses),
        **dict(zip(_NUMBERS, map(bigint_array, numbers), strict=True)),
    }
    # Planning is a third of the cost of a few rows. For many rows the plan is made anew, for the table's present size.
    if len(changed) <= MAX_PLANNED_ONCE:
        moved = statements_of(connection).change(queries["move"], columns)
    else:
        moved = queries["move"].run(connection, columns, prepare=False).rowcount
    if moved < len(changed):
        found = queries["find"].rows(connection, {"ledgers": list(ledgers), "addresses": list(addresses)})
        raise _missed(_first_missed(changed, found))


def _first_missed(changed: Iterable[Sequence[Recorded]], found: Iterable[TupleRow]) -> Recorded:
    """Return the first event of an account whose row is not where its events lead, else the first event of all."""
    positions = {account_stream(*row[:2]): row[-1] for row in found}
    missed = (history[0] for history in changed if positions.get(history[0].stream) != history[-1].position)
    return next(missed, next(iter(changed))[0])


def _change(history: Sequence[Recorded]) -> tuple[str | int, ...]:
    """Return the change that events of one account make, as the query `move` takes it."""
    first, last = history[0], history[-1]
    ledger, _, address = first.stream.split("/", 2)
    movement = _movement(first.event)
    for before, recorded in pairwise(history):
        if recorded.version != before.version + 1:
            raise _missed(recorded)
        movement = tuple(map(add, movement, _movement(recorded.event)))
    return ledger, address, *movement, last.version, last.position, first.version - 1


def _movement(event: Event) -> tuple[int, ...]:
    return event.movement() if isinstance(event, EntriesMoved) else _UNMOVED


def _alteration(history: Sequence[Recorded]) -> dict[str, Any]:
    """Return what events of one account change beside its sums."""
    account = _UNTOUCHED
    for recorded in history:
        account = evolve(account, recorded)
    limited = account.min_balance is not _UNCHANGED  # both limits always change together
    metadata: Any = account.metadata
    ledger, _, address = history[0].stream.split("/", 2)
    return {
        "ledger": ledger,
        "address": address,
        "status": account.status,
        "limited": limited,
        "min_balance": account.min_balance if limited else None,
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
