"""What a projection is: the events it reads, the tables it fills, and how events change the tables.

A projection can exist in several versions at once, each with its own tables. The SQL beside a read model's module
writes `entries_v:version`, and the number is filled in here.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

from psycopg import Connection

from domain.journal.queries import Query, load
from domain.model.events import Event

Queries = Mapping[str, Query]
"""The SQL of one version of a projection, by name."""

Project = Callable[[Connection[Any], Queries, Sequence[Any]], None]
"""Writes the changes that events make, within the caller's transaction.

Events come in the order of positions, as `Recorded`; for a projection of `all_events` they come as rows of the journal.

Several transactions may write events of disjoint sets of streams at once, and each commits right after writing. Rows
that they share are sums, which are changed last of all and in the order of their key. So a transaction only ever waits
for another one's commit, and deadlocks cannot arise.
"""


class Inconsistent(Exception):
    """A projection's tables contradict the journal, so the projection must be rebuilt instead of advanced."""


class Projection(NamedTuple):
    """A read model. The SQL file beside its `module` has the queries `create_tables` and `create_indexes`.

    If its rows keep the version of their stream, the file also has `skip`, which moves a row past an event that an
    operator has discarded.

    Of the types in `non_initial_events`, it reads only events that are not the first of their stream.

    `by_stream`: the changes of an event do not depend on events of other streams, so a rebuild can project parts of the
    streams separately and at once. Without it, a rebuild takes all events in their order, in one process.

    `shape` numbers the forms that its tables have had over the releases. Raise it when you change the tables, the
    topics that are read, or what is written for the same events. Each shape has its own live version, and only releases
    that know the shape read and advance it. So two releases can run side by side, and a new shape is filled beside the
    old one. If you read a new version of an event and write the same for it, keep the shape: then both releases share
    the live version, and a release that cannot read the event leaves it to one that can (projections/README.md, Two
    releases).

    A projection of `all_events` reads every event as it is stored, whatever its topic. It may skip none, so it is not
    divided into parts, and no event can be set aside. `linger_seconds` is how long it lets events collect before it
    advances. It may be longer than for other projections, if nobody waits for its rows.
    """

    name: str
    module: str
    events: tuple[type[Event], ...]
    tables: tuple[str, ...]
    project: Project
    non_initial_events: tuple[type[Event], ...] = ()
    shape: int = 1
    by_stream: bool = False
    all_events: bool = False
    linger_seconds: float = 0.0

    @property
    def of_shape(self) -> str:
        """Identifies what releases with this shape share: one live version, one runner, one rebuild."""
        return f"{self.name}/{self.shape}"

    @property
    def topics(self) -> list[str]:
        """The topics that it reads. It passes over all others."""
        return [event_type.TOPIC for event_type in self.events]

    @property
    def non_initial_topics(self) -> list[str]:
        """The topics of which it reads only events that are not the first of their stream."""
        return [event_type.TOPIC for event_type in self.non_initial_events]

    def queries(self, version: int) -> Queries:
        """Return the SQL of one version."""
        return versioned(self.module, version)

    def table_names(self, version: int) -> list[str]:
        """Return the names of the tables of one version."""
        return [f"{table}_v{version:d}" for table in self.tables]


@cache
def versioned(module: str, version: int) -> Queries:
    """Return the queries beside a module, for the tables of one version."""
    number = f"{version:d}"
    return MappingProxyType({name: query.fill(version=number) for name, query in load(module).items()})


def directed(query: Query, *, descending: bool) -> Query:
    """Return a list's query for one direction: `:order` is the sort order, `:beyond` compares with the cursor."""
    return query.fill(order="DESC", beyond="<") if descending else query.fill(order="ASC", beyond=">")
