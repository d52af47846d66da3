"""The sums posted up to a time by either clock: for one account, and for a whole ledger."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from domain.model.streams import account_stream
from domain.model.times import Instant, instant
from projections.engine.live_version import Reading, read_live
from projections.engine.projection import Queries
from projections.read_models.entries import PROJECTION, Clock, StatementPlace, Sums, posted_before

# After all entries of a time.
_LAST_POSITION = 2**63 - 1


class PostedAt(NamedTuple):
    """What an account had posted at a time, in minor units."""

    at: Instant
    posted: Sums


class AssetTotals(NamedTuple):
    """The sums of all entries of a ledger in one asset, as digits: they may exceed what is exact in a client."""

    asset: str
    debits: str
    credits: str


def posted_at(
    connection: Connection[Any],
    ledger: str,
    account: str,
    *,
    clock: Clock = "effective",
    at: Instant | None = None,
    existing: Sequence[str] = (),
) -> Reading[PostedAt]:
    """Return the sums of an account's entries whose time by the clock is `at` or earlier. None means now.

    By the recorded clock the cost does not depend on the number of entries. By the effective clock it is that of a page
    of a statement. `existing` is as for `read_live`.
    """

    def read(cursor: Cursor[TupleRow], version: int) -> PostedAt:
        queries = PROJECTION.queries(version)
        time = _instant(cursor, queries, at)
        place = StatementPlace(time, _LAST_POSITION, 0)
        return PostedAt(time, posted_before(cursor, queries, ledger, account, clock, place))

    return read_live(connection, PROJECTION, read, account_stream(ledger, account), existing)


def trial_balance(
    connection: Connection[Any],
    ledger: str,
    *,
    clock: Clock = "effective",
    at: Instant | None = None,
    existing: Sequence[str] = (),
) -> Reading[list[AssetTotals]]:
    """Return the totals of each asset, by name, over the entries whose time is `at` or earlier. None means now.

    Assets without such an entry are left out. `existing` is as for `read_live`.
    """

    def read(cursor: Cursor[TupleRow], version: int) -> list[AssetTotals]:
        queries = PROJECTION.queries(version)
        wanted = {"ledger": ledger, "clock": clock, "at": _instant(cursor, queries, at)}
        return queries["trial_balance"].rows(cursor, wanted, prepare=False, into=AssetTotals)

    return read_live(connection, PROJECTION, read, existing=existing)


def _instant(cursor: Cursor[TupleRow], queries: Queries, at: Instant | None) -> Instant:
    if at is not None:
        return at
    row = queries["now"].only(cursor)
    return instant(row[0])
