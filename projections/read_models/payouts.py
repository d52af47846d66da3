"""The list of payouts, as `domain.model.payouts.payout.Payout` has them, and when the ledger must act on them.

Rows are folded with the aggregate's own `evolve`, so a payout reads the same here as in a confirmation read.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import json
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from domain.journal.database import Database
from domain.model.events import Recorded
from domain.model.payouts.payout import EVENTS, Payout, PayoutState, Requested, evolve
from domain.model.streams import ledger_of, name_of
from domain.model.times import Instant
from projections.engine.live_version import Page, Reading, Rows, read_live, read_rows
from projections.engine.projection import Inconsistent, Projection, Queries, directed
from projections.read_models.rejections import with_details

_encode = json.Encoder().encode
_decode = json.Decoder(Payout).decode


class PayoutFilters(NamedTuple):
    """Filters on payouts. Null or empty filters nothing."""

    state: PayoutState | None = None
    account: str | None = None
    provider: str | None = None


class DuePayout(NamedTuple):
    """A payout on which the ledger must act. `position` is the position of its last event.

    `receiver` is the ledger that a bridge leads to, None for other payouts.
    """

    ledger: str
    id: str
    provider: str
    position: int
    receiver: str | None = None


class Share(NamedTuple):
    """How many payouts to find for a provider, so that payouts waiting for one provider do not hide another's.

    `installation` tells bridges apart by where they lead. It is empty for other providers, and for bridges to ledgers
    whose installation is not known.
    """

    provider: str
    installation: str
    most: int


_LISTED_ALIKE = (1,)
"""The shapes of older releases whose lists are read as those of this one: the first lacks only `receiver`."""

ASKED_EARLY: tuple[PayoutState, ...] = ("in_doubt", "completed", "failed", "stuck")
"""The states in which a payout with an inquiry to come can be asked about early: the provider was silent, or an
operator wants to know."""


def payouts_channel(database: Database) -> str:
    """Return the channel that announces payouts that became due, due now or later."""
    return f"{database.schema}_payouts"


def list_payouts(
    connection: Connection[Any],
    ledger: str,
    filters: PayoutFilters = PayoutFilters(),  # noqa: B008 - it cannot be changed
    *,
    after: int | None = None,
    limit: int,
    descending: bool = False,
    most_bytes: int | None = None,
    existing: Sequence[str] = (),
) -> Page[Payout]:
    """Return up to `limit` payouts in the order of their requests, that come after the `made_position` `after`.

    The page ends early with the item that makes it larger than `most_bytes`, unless that is None. `existing` is as for
    `read_live`.
    """
    wanted = {
        **{name: value or None for name, value in filters._asdict().items()},
        "ledger": ledger,
        "after": after,
        "limit": limit,
    }

    def read(cursor: Cursor[TupleRow], version: int) -> Rows[Payout]:
        query = directed(PROJECTION.queries(version)["page"], descending=descending)
        rows = read_rows(cursor, query, wanted, most_bytes)
        return rows.read_as(with_details(cursor, map(_payout, rows)))

    return Page(*read_live(connection, PROJECTION, read, existing=existing, older=_LISTED_ALIKE))


def list_due_payouts(
    connection: Connection[Any],
    now: Instant,
    shares: Sequence[Share],
    places: Mapping[str, str],
    excluding: Collection[str] = (),
) -> Reading[list[DuePayout]]:
    """Return the payouts that are due by `now`, longest due first, without the ids in `excluding`.

    `places` are the installations of the ledgers that bridges lead to, as far as they are known.
    """
    wanted = {
        "now": now,
        "providers": [share.provider for share in shares],
        "installations": [share.installation for share in shares],
        "limits": [share.most for share in shares],
        "places": _encode(places).decode(),
        "excluding": list(excluding),
    }
    return _due_payouts(connection, "list_due", wanted)


def list_early_payouts(
    connection: Connection[Any],
    since: Instant,
    share: Share,
    places: Mapping[str, str],
    excluding: Collection[str] = (),
) -> Reading[list[DuePayout]]:
    """Return payouts that have been in doubt since before `since`, and are due at any time, soonest first."""
    wanted = {
        "since": since,
        "states": list(ASKED_EARLY),
        "provider": share.provider,
        "installation": share.installation,
        "limit": share.most,
        "places": _encode(places).decode(),
        "excluding": list(excluding),
    }
    return _due_payouts(connection, "list_early", wanted)


def _due_payouts(
    connection: Connection[Any], query: str, wanted: Mapping[str, Any]
) -> Reading[list[DuePayout]]:
    def read(cursor: Cursor[TupleRow], version: int) -> list[DuePayout]:
        return [DuePayout(*row) for row in PROJECTION.queries(version)[query].rows(cursor, wanted)]

    return read_live(connection, PROJECTION, read)


def awaited(
    connection: Connection[Any], shares: Sequence[Share], places: Mapping[str, str]
) -> Reading[set[tuple[str, str]]]:
    """Return the providers and installations of those shares that payouts wait for, however long until they are due."""
    wanted = {
        "providers": [share.provider for share in shares],
        "installations": [share.installation for share in shares],
        "places": _encode(places).decode(),
    }

    def read(cursor: Cursor[TupleRow], version: int) -> set[tuple[str, str]]:
        return set(PROJECTION.queries(version)["awaited"].rows(cursor, wanted))

    return read_live(connection, PROJECTION, read)


def count_forgotten(connection: Connection[Any], now: Instant, known: Collection[str]) -> dict[str, int]:
    """Return, for each provider that is not in `known`, how many of its payouts are due."""
    wanted = {"now": now, "known": list(known)}

    def read(cursor: Cursor[TupleRow], version: int) -> dict[str, int]:
        return dict(PROJECTION.queries(version)["forgotten"].rows(cursor, wanted))

    return read_live(connection, PROJECTION, read).found


def project(connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
    """Add the payouts that were requested, and fold the other events into their payouts."""
    begun = {recorded.stream for recorded in events if isinstance(recorded.event, Requested)}
    known: dict[str, Payout] = _found(
        connection, queries, sorted({recorded.stream for recorded in events} - begun)
    )
    for recorded in events:
        payout = known.get(recorded.stream)
        if recorded.version != (payout.version if payout else 0) + 1:
            raise Inconsistent(f"{recorded.stream} is not at the version before event {recorded.position}")
        known[recorded.stream] = evolve(payout, recorded)
    _keep(connection, queries, known.values())


def _found(connection: Connection[Any], queries: Queries, streams: Sequence[str]) -> dict[str, Payout]:
    if not streams:
        return {}
    wanted = {
        "ledgers": [ledger_of(stream) for stream in streams],
        "ids": [name_of(stream) for stream in streams],
    }
    rows = queries["find"].rows(connection, wanted)
    payouts = map(_payout, rows)
    return {f"{payout.ledger}/payouts/{payout.id}": payout for payout in payouts}


def _keep(connection: Connection[Any], queries: Queries, payouts: Iterable[Payout]) -> None:
    kept = list(payouts)
    columns: dict[str, list[Any]] = {
        "ledgers": [payout.ledger for payout in kept],
        "ids": [payout.id for payout in kept],
        "made_positions": [payout.made_position for payout in kept],
        "states": [payout.state for payout in kept],
        "accounts": [payout.account for payout in kept],
        "providers": [payout.provider for payout in kept],
        "receivers": [payout.destination["ledger"] if payout.is_bridge else None for payout in kept],
        "due_at": [payout.due_at for payout in kept],
        "changed_at": [payout.changed_at for payout in kept],
        "positions": [payout.position for payout in kept],
        "versions": [payout.version for payout in kept],
        "bodies": [_encode(_kept(payout)).decode() for payout in kept],
    }
    queries["keep"].run(connection, columns)
    if any(payout.due_at for payout in kept):
        queries["announce"].run(connection)


def _kept(payout: Payout) -> Any:
    """Return a payout as its row stores it. The details of its refusal are in the journal (rejections.py)."""
    rejection: Any = payout.rejection and payout.rejection[:2]
    return payout._replace(rejection=rejection)


def _payout(row: TupleRow) -> Payout:
    """Return the payout of a row. The row's version also counts discarded events."""
    body, version = row
    return _decode(body)._replace(version=version)


PROJECTION = Projection("payouts", __name__, EVENTS, ("payouts",), project, by_stream=True, shape=2)
