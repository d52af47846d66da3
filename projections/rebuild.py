"""Rebuilding a projection: a new version is filled beside the live one, compared, and put in its place.

The live version is read and advanced all the while. It stands still only for the comparison, which one
transaction makes at exactly its position and which ends with the switch; reads go on even then. A rebuild
that was interrupted, by whatever, is resumed by the next one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import uuid4

import structlog
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from domain.journal.database import Database
from domain.journal.queries import load
from projections.batches import Claim, advance, hold, read_batch, take_over
from projections.positions import RATE_SECONDS
from projections.projection import Projection
from projections.rates import Rate
from projections.register import (
    add_version,
    create_indexes,
    drop_retired,
    drop_version,
    find_projection,
    next_version,
)

BATCH_EVENTS = 20_000

_SQL = load("projections", "rebuild.sql")
_log = structlog.get_logger(__name__)

Report = Callable[[int, int, float], None]
"""Is told how a rebuild gets on: its position, that of the live version, events per second."""


class RebuildRefused(Exception):
    """The rebuild cannot be made or go on; the message says why."""


class Comparison(NamedTuple):
    """A table of the live version beside the rebuilt one: rows, and a checksum over all columns."""

    live_table: str
    rebuilt_table: str
    live_rows: int
    rebuilt_rows: int
    live_checksum: str
    rebuilt_checksum: str
    differing: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return (self.live_rows, self.live_checksum) == (self.rebuilt_rows, self.rebuilt_checksum)

    def __str__(self) -> str:
        if self.equal:
            return (
                f"{self.live_table} and {self.rebuilt_table} are equal: {self.live_rows} rows,"
                f" and the checksum over all columns of all rows is {self.live_checksum} in both"
            )
        return "\n".join(
            [
                f"{self.live_table} and {self.rebuilt_table} differ:"
                f" {self.live_rows} rows with checksum {self.live_checksum},"
                f" against {self.rebuilt_rows} rows with checksum {self.rebuilt_checksum}",
                *(f"  {row}" for row in self.differing),
            ]
        )


class Outcome(NamedTuple):
    """What became of a rebuild: whether it was put in place, and what was compared at which position."""

    name: str
    version: int
    replaced_version: int
    position: int
    switched: bool
    comparisons: tuple[Comparison, ...]

    @property
    def equal(self) -> bool:
        """Whether no table differs."""
        return all(comparison.equal for comparison in self.comparisons)


def rebuild(
    database: Database,
    name: str,
    *,
    report: Report = lambda position, target, rate: None,
    accept_difference: str | None = None,
    restart: bool = False,
) -> Outcome:
    """Rebuild a projection and put the new version in the live one's place if they are equal.

    If they differ it is kept for inspection, and only `accept_difference`, the operator's reason, puts it in
    place. An interrupted rebuild is resumed unless `restart`; one that was found to differ is begun anew
    unless its difference is accepted. Raises `ProjectionNotFound`, then `RebuildRefused` if one is under way
    elsewhere or if the journal cannot be read up to the live position.
    """
    projection = find_projection(name)
    with database.connect("tallystick rebuild") as connection:
        if not hold(connection, "rebuild", projection.of_shape):
            raise RebuildRefused(f"another rebuild of {name} is under way")
        connection.execute(_SQL["session"])
        drop_retired(connection, name, projection.shape)
        claim = _begin(connection, projection, restart=restart, accept=accept_difference is not None)
        rate = Rate(RATE_SECONDS)
        _fill(connection, claim, rate, report)
        create_indexes(connection, projection, claim.version)
        for table in projection.table_names(claim.version):
            connection.execute(SQL("ANALYZE {}").format(Identifier(table)))
        _fill(connection, claim, rate, report)
        outcome = _switch(connection, claim, accept_difference)
        drop_retired(connection, name, projection.shape)
        return outcome


def discard(database: Database, name: str) -> int:
    """Drop what an interrupted or refused rebuild has left; return how many versions that were.

    Raises `ProjectionNotFound`, then `RebuildRefused` if a rebuild is under way.
    """
    projection = find_projection(name)
    with database.connect("tallystick rebuild") as connection:
        if not hold(connection, "rebuild", projection.of_shape):
            raise RebuildRefused(f"a rebuild of {name} is under way")
        unfinished = connection.execute(_SQL["unfinished"], _of_shape(projection)).fetchall()
        for version, _, _ in unfinished:
            drop_version(connection, projection.name, version)
        return len(unfinished)


def _begin(connection: Connection[Any], projection: Projection, *, restart: bool, accept: bool) -> Claim:
    """Return the claim on an unfinished version if it can be used, else on a new one."""
    resumed: int | None = None
    for version, position, last_error in connection.execute(
        _SQL["unfinished"], _of_shape(projection)
    ).fetchall():
        if resumed is None and not restart and (last_error is None or accept):
            resumed = version
            _log.info("rebuild resumed", projection=projection.name, version=version, position=position)
        else:
            drop_version(connection, projection.name, version)
    if resumed is None:
        with connection.transaction():
            resumed = next_version(connection, projection.name)
            add_version(connection, projection, resumed, "rebuilding")
    claim = Claim(projection, resumed, uuid4(), "rebuilding")
    take_over(connection, claim)
    return claim


def _fill(connection: Connection[Any], claim: Claim, rate: Rate, report: Report) -> None:
    """Advance the version to where the live one is, and never beyond: there it will be compared."""
    position = _position(connection, claim)
    while True:
        _, target, _ = _live(connection, claim.projection)
        report(position, target, rate.events_per_second)
        if position >= target:
            return
        upto = min(target, position + BATCH_EVENTS)
        batch = read_batch(connection, claim.projection, position, upto)
        if batch.upto == position:
            raise RebuildRefused(
                f"{claim.projection.name} cannot be rebuilt beyond {position}: {batch.obstacle}"
            )
        if not advance(connection, claim, batch, rate.measure(batch.upto - position), None):
            raise RebuildRefused(
                f"version {claim.version} of {claim.projection.name} was taken over or dropped"
            )
        position = batch.upto


def _switch(connection: Connection[Any], claim: Claim, reason: str | None) -> Outcome:
    """Compare with the live version at its position; replace it if nothing differs or that is accepted."""
    projection = claim.projection
    with connection.transaction():
        connection.execute(_SQL["durable"])
        replaced, _, _ = _live(connection, projection)
        connection.execute(_SQL["lock_version"], {"name": projection.name, "version": replaced})
        _, position, state = _live(connection, projection)
        _fill(connection, claim, Rate(RATE_SECONDS), lambda position, target, rate: None)
        comparisons = _compare(connection, projection, replaced, claim.version)
        equal = all(comparison.equal for comparison in comparisons)
        values = {
            "name": projection.name,
            "version": claim.version,
            "replaced": replaced,
            "position": position,
            # An operator's pause outlasts a rebuild; what halted the live version is what a rebuild is to
            # mend.
            "state": "paused" if state == "paused" else "running",
            "comparison": "\n".join(map(str, comparisons)),
            "reason": None if equal else reason,
        }
        switched = equal or reason is not None
        for step in ("retire", "promote", "switch_older", "record_switch") if switched else ("refuse",):
            connection.execute(_SQL[step], values)
    return Outcome(projection.name, claim.version, replaced, position, switched, tuple(comparisons))


def _compare(
    connection: Connection[Any], projection: Projection, live: int, rebuilt: int
) -> list[Comparison]:
    return [
        _compare_tables(connection, *tables)
        for tables in zip(projection.table_names(live), projection.table_names(rebuilt), strict=True)
    ]


def _compare_tables(connection: Connection[Any], live: str, rebuilt: str) -> Comparison:
    (live_rows, live_checksum), (rebuilt_rows, rebuilt_checksum) = (
        _fetch_one(connection, _SQL["checksum"].replace("{table}", table)) for table in (live, rebuilt)
    )
    compared = Comparison(live, rebuilt, live_rows, rebuilt_rows, live_checksum, rebuilt_checksum)
    if compared.equal:
        return compared
    query = _SQL["differing"].replace("{live}", live).replace("{rebuilt}", rebuilt)
    differing = connection.execute(query.encode()).fetchall()
    return compared._replace(differing=tuple(f"{where}: {row}" for where, row in differing))


def _live(connection: Connection[Any], projection: Projection) -> tuple[int, int, str]:
    version, position, state = _fetch_one(connection, _SQL["live"], _of_shape(projection))
    return version, position, state


def _of_shape(projection: Projection) -> dict[str, Any]:
    return {"name": projection.name, "shape": projection.shape}


def _position(connection: Connection[Any], claim: Claim) -> int:
    wanted = {"name": claim.projection.name, "version": claim.version}
    return int(_fetch_one(connection, _SQL["position"], wanted)[0])


def _fetch_one(
    connection: Connection[Any], query: str, values: dict[str, Any] | None = None
) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(query.encode(), values).fetchone()
    if row is None:
        raise RebuildRefused("the projection is not installed in this database, or its version was dropped")
    return row
