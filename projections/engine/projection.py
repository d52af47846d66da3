"""What a projection is: the events that it reads, the tables that it fills, how the ones change the others.

A projection can exist in several versions at once, each with tables of its own: SQL beside this module writes
`entries_v:version` and is completed with a number here.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

from psycopg import Connection

from domain.journal.queries import load
from domain.model.events import Event

Queries = Mapping[str, str]
"""The SQL of one version of a projection, by name."""

Project = Callable[[Connection[Any], Queries, Sequence[Any]], None]
"""Writes what events change, given in the order of positions, within the caller's transaction.

They come as `Recorded`, those of a projection of `all_events` as rows of the journal.

Events of disjoint sets of streams may be written at once, by transactions that do nothing after it but commit: rows
that they share are sums, changed last of all and in the order of their key. A transaction waits
only for another's commit, so deadlocks cannot arise.
"""


class Inconsistent(Exception):
    """A projection's tables contradict the journal, so it must be rebuilt rather than advanced."""


class Projection(NamedTuple):
    """A read model. The SQL file beside its `module` has `create_tables` and `create_indexes`.

    If its rows keep the version of their stream, it has `skip` as well, which lets a row pass over an event that an
    operator has discarded.

    Of `non_initial_events` it reads only those events that are not the first of their stream.

    `by_stream` says that what an event changes does not depend on events of other streams, so that streams can be
    projected apart and at once. Without it a rebuild takes all events in their order, in one process.

    `shape` counts what its tables have looked like over the releases: whoever changes them, or the topics that are
    read, or what is written into them for the same events, raises it. Each shape has a live version of its own, which
    releases that know this shape read and advance, and no others: so two releases run side by side, and a new shape is
    filled beside the old one. Reading an event in a new version and writing the same for it keeps the shape: then the
    version is shared, and a release that cannot read the event leaves it to one that can.

    A projection of `all_events` reads every event, whatever its topic, as it is stored. It can do without none, so it
    is not divided into parts, and no event of it can be set aside. `linger_seconds` is how long it lets events collect
    before it goes on, where that is longer than others do: who reads it does not wait for it.
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
        """The name of what releases with this shape have in common: one live version, one runner, one rebuild."""
        return f"{self.name}/{self.shape}"

    @property
    def topics(self) -> list[str]:
        """The topics that it reads; it passes over all others."""
        return [event_type.TOPIC for event_type in self.events]

    @property
    def non_initial_topics(self) -> list[str]:
        """The topics that it reads where an event is not the first of its stream."""
        return [event_type.TOPIC for event_type in self.non_initial_events]

    def queries(self, version: int) -> Queries:
        """Return the SQL of one version."""
        return versioned(self.module, version)

    def table_names(self, version: int) -> list[str]:
        """Return the names of the tables of one version."""
        return [f"{table}_v{version:d}" for table in self.tables]


@cache
def versioned(module: str, version: int) -> Queries:
    """Return the queries beside a module for the tables of one version."""
    queries = load(module)
    return MappingProxyType(
        {name: text.replace(":version", f"{version:d}") for name, text in queries.items()}
    )


_ASCENDING = {":order": "ASC", ":beyond": ">"}
_DESCENDING = {":order": "DESC", ":beyond": "<"}


def directed(query: str, *, descending: bool) -> str:
    """Return a list's query for one direction: `:order` of the sort, `:beyond` what follows the cursor."""
    for placeholder, text in (_DESCENDING if descending else _ASCENDING).items():
        query = query.replace(placeholder, text)
    return query
