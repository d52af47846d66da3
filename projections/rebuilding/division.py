"""How the filling of several versions is divided into portions, each for one process.

For a portion the journal is read once, and each event is decoded once. So projections that read the same events are
filled together, and there are no more portions than processes if that can be. For more processes, streams are divided
into parts as well. Each part reads much of what the others read, so there are no more than needed.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import Connection

from domain.journal.queries import load
from projections.engine.projection import Projection
from projections.rebuilding.requests import Rebuild

SHORT_EVENTS = 20_000
"""A journal of up to this many events is not divided into parts, and is filled in this process."""

MANY_WORKERS = 4
"""With so many, each projection of all events is filled alone: they cannot be divided, and hold up the others."""

_SQL = load(__name__)


class Division(NamedTuple):
    """How a version is divided: the number of parts, and the position up to which each is filled."""

    parts: int
    upto: int


class Portion(NamedTuple):
    """The part with this number of several versions, which are divided in the same way."""

    rebuilds: Sequence[Rebuild]
    number: int
    upto: int

    @property
    def versions(self) -> list[tuple[str, int]]:
        """The names of the projections and the numbers of the versions."""
        return [(rebuild.name, rebuild.version) for rebuild in self.rebuilds]

    @property
    def is_short(self) -> bool:
        """Whether it is filled in this process: to start another would take longer."""
        return self.upto <= SHORT_EVENTS


def divide(
    connection: Connection[Any],
    projections: Mapping[str, Projection],
    rebuilds: Sequence[Rebuild],
    workers: int,
) -> list[Portion]:
    """Divide what is to be filled up to the present positions of the live versions; return the portions, longest first.

    A version that was begun before keeps its division. One that is filled is in no portion. What cannot be divided into
    parts takes longest, and then what has the largest tables, since what comes after the filling takes long for them.
    """
    if not rebuilds:
        return []
    by_name = {rebuild.name: rebuild for rebuild in rebuilds}
    sizes: dict[str, int] = dict(_SQL["sizes"].rows(connection, {"names": list(by_name)}))
    groups = grouped([projections[name] for name in by_name], sizes, workers)
    divisible = sum(map(_is_divisible, groups))
    parts_each = -(-workers // (divisible + (divisible < len(groups))))
    portions: list[Portion] = []
    for group in groups:
        parts = parts_each if _is_divisible(group) else 1
        divided: dict[Division, list[Rebuild]] = defaultdict(list)
        for projection in group:
            rebuild = by_name[projection.name]
            if division := _divide(connection, rebuild, parts if rebuild.target > SHORT_EVENTS else 1):
                divided[division].append(rebuild)
        for division, together in divided.items():
            together.sort(key=lambda rebuild: -sizes.get(rebuild.name, 0))
            portions += [Portion(together, number, division.upto) for number in range(division.parts)]
    return sorted(
        portions,
        key=lambda portion: (
            _is_divisible([projections[name] for name, _ in portion.versions]),
            -sum(sizes.get(name, 0) for name, _ in portion.versions),
        ),
    )


def grouped(
    projections: Collection[Projection], sizes: Mapping[str, int], workers: int
) -> list[list[Projection]]:
    """Return the groups of projections that are filled together, given the sizes of their tables in pages.

    Those that can be divided into parts form two groups: those of which the tables are largest, with all that read the
    same events, and the others. Those that cannot form one, or are each alone if there are many workers. If there are
    fewer workers than groups, these read the journal with one of the others.
    """
    of_streams = _readers_of_the_same([projection for projection in projections if projection.by_stream])
    of_streams.sort(key=lambda group: -sum(sizes.get(projection.name, 0) for projection in group))
    others = [projection for group in of_streams[1:] for projection in group]
    undivided = [projection for projection in projections if not projection.by_stream]
    apart = [[projection] for projection in undivided] if workers >= MANY_WORKERS else [undivided]
    groups = [group for group in (*of_streams[:1], others, *apart) if group]
    while workers < min(len(groups), MANY_WORKERS):
        *groups, last, added = groups
        groups.append(last + added)
    return groups


def _is_divisible(group: Collection[Projection]) -> bool:
    """Tell whether what a group reads can be divided into parts by streams."""
    return all(projection.by_stream for projection in group)


def _readers_of_the_same(projections: Collection[Projection]) -> list[list[Projection]]:
    """Return projections in groups, of which no two read an event of the same type."""
    groups: list[tuple[set[str], list[Projection]]] = []
    for projection in projections:
        topics, group = {*projection.topics, *projection.non_initial_topics}, [projection]
        for joined in [other for other in groups if other[0] & topics]:
            groups.remove(joined)
            topics, group = topics | joined[0], joined[1] + group
        groups.append((topics, group))
    return [group for _, group in groups]


def _divide(connection: Connection[Any], rebuild: Rebuild, parts: int) -> Division | None:
    """Return how the version is divided, dividing it first if it is empty. None if it is already filled."""
    named = {"name": rebuild.name, "version": rebuild.version}
    if rebuild.target:
        _SQL["divide"].run(connection, {**named, "parts": parts, "upto": rebuild.target})
    count, upto = _SQL["divided"].row(connection, named) or (0, 0)
    return Division(count, upto) if count else None
