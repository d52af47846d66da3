"""Changes of accounts themselves: opened, limits and metadata changed, frozen, unfrozen, closed; each before and after.

They are read from the journal, so they are complete up to its newest position. An event states the values after it; the
values before it are in the previous event about the same attributes, which is looked up here. Changes are streamed in
the order of positions.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Literal, NamedTuple

from psycopg import Connection
from psycopg.rows import TupleRow

from domain.journal.encoding import decode
from domain.journal.queries import load
from domain.journal.reader import head_of
from domain.model.accounts import (
    AccountOpened,
    Closed,
    Frozen,
    LimitsChanged,
    MetadataChanged,
    Unfrozen,
)
from domain.model.events import Event, Recorded
from domain.model.streams import account_stream, name_of
from domain.model.times import Instant
from projections.engine.live_version import Lacking, Reading, one_instant
from projections.read_models.reports import opened_rows

Facet = Literal["status", "limits", "metadata"]
"""What can change about an account."""

FACETS: Sequence[Facet] = ("status", "limits", "metadata")

_TOPICS = [event.TOPIC for event in (AccountOpened, LimitsChanged, MetadataChanged, Frozen, Unfrozen, Closed)]
_LAST = "~"  # sorts after every character of an address
_STATUS: dict[type[Event], str] = {
    AccountOpened: "open",
    Frozen: "frozen",
    Unfrozen: "open",
    Closed: "closed",
}

_SQL = load(__name__)


class Change(NamedTuple):
    """The change of one attribute of an account by one event. Limits are in minor units; None means no limit.

    `change` names the event: `opened`, `limits_changed` and so on. For an opening, every `before` is None.
    """

    recorded_at: Instant
    position: int
    account: str
    asset: str
    change: str
    attribute: str
    before: Any
    after: Any
    actor: str
    reason: str
    correlation_id: str


@contextmanager
def account_changes(
    connection: Connection[Any],
    ledger: str,
    *,
    account: str | None = None,
    prefix: str | None = None,
    facets: Sequence[Facet] = FACETS,
    since: Instant | None = None,
    until: Instant | None = None,
) -> Iterator[Reading[Iterator[Change]]]:
    """Read the changes of one account, of accounts with a prefix, or of all, recorded from `since` to before `until`.

    Iterating raises `UnreadableEvent` at an event that this release cannot read.
    """
    first = account_stream(ledger, account or prefix or "")
    wanted = {
        "first": first,
        "last": first + _LAST,
        "topics": _TOPICS,
        "facets": list(facets),
    }
    query = _SQL["changes"].fill(wanted=_SQL["of_account" if account else "of_prefix"])
    with one_instant(connection):
        head = head_of(connection)
        with closing(opened_rows(connection, query, wanted)) as rows:
            found = (change for row in rows for change in _changes(row, since, until))
            yield Reading(found, head, head, Lacking())


def _changes(row: TupleRow, since: Instant | None, until: Instant | None) -> Iterator[Change]:
    facet, stream, version, topic, state, position, before_topic, before_state, opening_state = row
    recorded = decode(stream, version, topic, bytes(state), position)
    recorded_at = recorded.envelope.recorded_at
    if (since and recorded_at < since) or (until and recorded_at >= until):
        return
    opening = decode(stream, 1, AccountOpened.TOPIC, bytes(opening_state), 0).event
    assert isinstance(opening, AccountOpened)
    before = None if before_state is None else decode(stream, 1, before_topic, bytes(before_state), 0).event
    for attribute, was, now in _attributes(facet, before, recorded.event):
        yield _change(recorded, opening.asset, attribute, was, now)


def _change(recorded: Recorded, asset: str, attribute: str, was: Any, now: Any) -> Change:
    envelope, event = recorded.envelope, recorded.event
    reason = getattr(event, "reason", "")
    said = event.TOPIC.removeprefix("account.")
    return Change(
        envelope.recorded_at,
        recorded.position,
        name_of(recorded.stream),
        asset,
        said,
        attribute,
        was,
        now,
        envelope.actor,
        reason,
        envelope.correlation_id,
    )


def _attributes(facet: Facet, before: Event | None, event: Event) -> Iterator[tuple[str, Any, Any]]:
    """Yield each attribute that an event changed, with its value before and after; for an opening, all attributes."""
    if facet == "status":
        yield "status", before and _STATUS[type(before)], _STATUS[type(event)]
        return
    for name in ("min_balance", "max_balance") if facet == "limits" else ("metadata",):
        was, now = getattr(before, name, None), getattr(event, name)
        if before is None or was != now:
            yield name, was, now
