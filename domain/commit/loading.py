"""Loading: brings the decider's aggregates up to date from the journal."""

from collections.abc import Iterator, Sequence

from domain.commit.decider import Decider
from domain.journal.reader import MissedEvent
from domain.journal.writer import JournalWriter, Span
from domain.model.commands import Command
from domain.model.moves import TOPICS_BEGIN
from domain.model.streams import is_account_stream, ledger_of, ledger_stream

MAX_CATCH_UP_EVENTS = 5_000
"""If others appended more, that is not read: the aggregates that are needed are loaded again instead."""

RECENT_EVENTS = 10_000
"""How many of the newest events tell a writer that starts which accounts it will need."""

LEARNED_AT_ONCE = 100
"""So many accounts take about 5 ms: commands that come meanwhile wait that long."""


def warm_up(decider: Decider, connection: JournalWriter) -> Iterator[None]:
    """Learn the accounts of the newest events, some in each step: the next commands are likely to name them again.

    Each would otherwise cost its first command a round trip. No lock is needed, because accounts are read together with
    the head, at one instant. Between two steps others may write, and so may this writer.
    """
    _, head = connection.present(())
    decider.forget_all(head)
    decider.fences = connection.fences()
    recent = connection.missed(Span(max(0, head - RECENT_EVENTS), head))
    accounts = {event[0] for event in recent if is_account_stream(event[0])}
    streams = [*{ledger_stream(ledger_of(stream)) for stream in accounts}, *accounts]
    for begin in range(0, len(streams), LEARNED_AT_ONCE):
        yield
        learned = streams[begin : begin + LEARNED_AT_ONCE]
        states, head = connection.present(learned)
        events = connection.missed(missed(decider)) if head != decider.position else ()
        catch_up(decider, head, events, connection)
        decider.remember(zip(learned, states, strict=True))


def missed(decider: Decider) -> Span:
    """Return the events that the decider may have missed, as many as it pays to read."""
    return Span(decider.position, decider.position + MAX_CATCH_UP_EVENTS)


def catch_up(decider: Decider, head: int, events: Sequence[MissedEvent], connection: JournalWriter) -> None:
    """Bring what is known to a head of the journal, given the events of the span that `missed` returns.

    Which ledgers are fenced changes only with an event of a ledger, in the same transaction. So it is read again after
    such an event, and when events are not read. It may be read later than the head, since nothing is recorded unless
    the head is still the one that is known.
    """
    is_near = decider.position and 0 <= head - decider.position <= MAX_CATCH_UP_EVENTS
    if is_near:
        events = [event for event in events if event[4] <= head]
        decider.apply(events, head)
    else:
        decider.forget_all(head)
    if not is_near or any(event[3] is None and event[2].startswith(TOPICS_BEGIN) for event in events):
        decider.fences = connection.fences()


def load_needed(
    decider: Decider, commands: Sequence[Command], needed: set[str], connection: JournalWriter
) -> None:
    """Load the streams that the commands name, then those that follow from these, which are added to `needed`."""
    _load(decider, needed, connection)
    if following := decider.following_streams(commands):
        needed |= following
        _load(decider, following, connection)


def _load(decider: Decider, streams: set[str], connection: JournalWriter) -> None:
    if missing := decider.missing(streams):
        decider.learn(missing, connection.load(missing))
