"""The rows that `outbox` must hold: for each webhook, how many events were owed to it, and the last of them."""

from collections.abc import Iterator
from uuid import UUID

from domain.journal.queries import load
from projections.audit.stored import DISCARDED, INSTALLATION, Journal, Row

_SQL = load("projections.audit.audit")


def outbox(journal: Journal) -> Iterator[Row]:
    """Return, for each webhook that was owed any event, its id, the number of events and the position of the last.

    Nothing for a sample, because no sample of streams has all the events that are owed.
    """
    if journal.sample is not None:
        return
    webhooks = _SQL["webhooks"].rows(journal.connection)
    owed: dict[UUID, tuple[int, int]] = {}
    arriving: set[str] = set()
    for event in journal.of_topics():
        if event.topic == "ledger.arrival_begun":
            arriving.add(event.data["ledger"])
        elif event.topic == "ledger.arrival_ended":
            arriving.discard(event.data["ledger"])
        if (
            event.ledger == INSTALLATION or event.ledger in arriving
        ):  # copies are owed where they were recorded
            continue
        for id, ledgers, types, after, upto in webhooks:
            concerned = event.ledger in ledgers or "*" in ledgers
            wanted = (event.topic in types or "*" in types) and event.topic != DISCARDED
            if concerned and wanted and after < event.position <= upto:
                count, _ = owed.get(id, (0, 0))
                owed[id] = (count + 1, event.position)
    yield from ((id, *owed[id]) for id in sorted(owed))
