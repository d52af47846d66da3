"""What is stuck in a placement: what each installation finds, and what only several of them together show."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import Connection

from domain.model.times import Instant
from domain.placement.ledger_map import unnamed
from projections.diagnosis.moves import LedgerMove, between, read_moves
from projections.diagnosis.stuck.catalogue import Stuck


class Surroundings(NamedTuple):
    """What an installation says of the others: its moves of ledgers, and which ledgers its map gives to none of them.

    Only home keeps a map. `unnamed` has the installation that it gives each of those ledgers to.
    """

    moves: Sequence[LedgerMove]
    unnamed: Mapping[str, str]


def look_around(connection: Connection[Any], names: Sequence[str]) -> Surroundings:
    """Return what an installation says of the others in the placement, whose names are given."""
    return Surroundings(read_moves(connection), unnamed(connection, names))


def in_placement(
    found: Mapping[str, Sequence[Stuck]],
    surroundings: Mapping[str, Surroundings],
    home: str,
    before: Instant,
    granted: Collection[str] | None = None,
) -> dict[str, list[Stuck]]:
    """Return what is stuck in each installation, the oldest first, given what each found by itself.

    A ledger that left before the instant `before` and arrived nowhere is stuck at the place that it left. A bridge into
    an installation that is not named says so. Each thing has its installation. Only ledgers that are `granted` are
    told of, None for all. Of an installation that said nothing of its surroundings, nothing is known.
    """
    placed = surroundings[home].unnamed if home in surroundings else {}
    lost = [
        each
        for each in not_arrived({name: seen.moves for name, seen in surroundings.items()}, before)
        if granted is None or each.ledger in granted
    ]
    return {
        name: sorted(
            [each.leading_to(placed).on(name) for each in of]
            + [each for each in lost if each.installation == name],
            key=lambda stuck: stuck.place,
        )
        for name, of in found.items()
    }


def not_arrived(said: Mapping[str, Sequence[LedgerMove]], before: Instant) -> list[Stuck]:
    """Return the ledgers that left an installation before an instant and arrived nowhere, given all moves."""
    return [
        Stuck(
            "move_not_arrived",
            of.since,
            of.ledger,
            f"/v1/ledgers/{of.ledger}",
            None,
            f"It has left {of.left}, and has not arrived at {of.bound_for}.",
            installation=of.left,
            bound_for=of.bound_for,
        )
        for of in between(said)
        if of.since <= before
    ]
