"""Stories of bridges, with what the other ledgers recorded, and where these cannot be asked."""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

from api.http.call import Call
from api.http.spanning.asking import ask_whoever_answers
from api.service.connections import connected
from domain.model.errors import LedgerError
from domain.model.payouts.payout import Payout
from domain.placement.ledger_map import unnamed
from projections.diagnosis.trace.story import Story, events_received
from projections.process_managers.providers.interface import NoAnswer
from projections.process_managers.providers.siblings import Siblings
from projections.read_models.event_history import JournalEvent


async def with_both_sides(story: Story, call: Call[Any, None]) -> Story:
    """Return a story with what other ledgers recorded for its bridges.

    A ledger that was not granted to the caller, or that does not answer now, is left out.
    """
    bridges: defaultdict[str, list[Payout]] = defaultdict(list)
    for made in story.operations:
        if isinstance(made, Payout) and made.is_bridge and call.caller.may_use(made.destination["ledger"]):
            bridges[made.destination["ledger"]].append(made)
    received: list[JournalEvent] = []
    for ledger, sent in bridges.items():
        received += await call.service.read(_received, call.service.siblings, ledger, sent)
    return story._replace(received=tuple(received))


async def with_unnamed(stories: Sequence[Story], call: Call[Any, None]) -> list[Story]:
    """Return stories with which ledgers are in installations that the placement does not name.

    Home is asked, if bridges of theirs are under way. While it is away, nothing is known.
    """
    installations = call.installations
    if not installations.is_placement or not any(story.has_bridges_under_way for story in stories):
        return list(stories)
    home, look = installations.home, partial(unnamed, names=installations.names)
    told = await ask_whoever_answers([home], lambda home: home.look_up(look))
    return [story._replace(unnamed=told.said.get(home.name, {})) for story in stories]


def _received(siblings: Siblings, ledger: str, sent: Sequence[Payout]) -> list[JournalEvent]:
    try:
        with siblings.calling(ledger) as application:
            application.ledger(ledger)  # an installation that the ledger has left does not tell of it
            with connected(application) as connection:
                return events_received(connection, sent)
    except (LedgerError, NoAnswer):
        return []
