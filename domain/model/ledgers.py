"""Ledgers: books of accounts, each with its assets.

Within a ledger an asset's code has one scale for ever. The first account that uses the asset registers it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from domain.model.commands import Decision, Read, Repeatable
from domain.model.events import Context, Event, Recorded, State
from domain.model.money import split_asset
from domain.model.refusals import asset_scale_conflict, ledger_exists, ledger_not_found
from domain.model.streams import ledger_of, ledger_stream
from domain.model.times import Instant


class LedgerOpened(Event):
    """A ledger was opened."""

    TOPIC: ClassVar[str] = "ledger.opened"

    metadata: dict[str, str]


class AssetRegistered(Event):
    """A ledger uses an asset for the first time. This fixes the scale of the asset's code."""

    TOPIC: ClassVar[str] = "ledger.asset_registered"

    code: str
    scale: int


EVENTS: tuple[type[Event], ...] = (LedgerOpened, AssetRegistered)


class Ledger(NamedTuple):
    """A ledger, folded. `assets` maps codes to scales."""

    name: str
    metadata: Mapping[str, str]
    assets: Mapping[str, int]
    opened_at: Instant
    version: int
    position: int


def evolve(ledger: Ledger | None, recorded: Recorded) -> Ledger:
    """Return the ledger after an event of its stream."""
    event, version, position = recorded.event, recorded.version, recorded.position
    if isinstance(event, LedgerOpened):
        opened_at = recorded.envelope.recorded_at
        return Ledger(ledger_of(recorded.stream), event.metadata, {}, opened_at, version, position)
    assert ledger is not None and isinstance(event, AssetRegistered)
    return ledger._replace(
        assets={**ledger.assets, event.code: event.scale}, version=version, position=position
    )


@dataclass(frozen=True, slots=True)
class OpenLedger(Repeatable):
    """Open a ledger. Repeating it with the same metadata changes nothing."""

    context: Context
    ledger: str
    metadata: dict[str, str]

    def streams(self) -> Sequence[str]:
        """Return the ledger's own stream."""
        return (ledger_stream(self.ledger),)

    def decide(self, read: Read, now: Instant) -> Decision:
        """Open the ledger, unless it exists; raise `LedgerExists` if it exists with other metadata."""
        stream = ledger_stream(self.ledger)
        existing = read(stream)
        if existing is None:
            return Decision([(stream, LedgerOpened(metadata=self.metadata))], stream)
        if existing.metadata != self.metadata:
            raise ledger_exists(self.ledger)
        return Decision((), stream)


def existing_ledger(state: State, name: str) -> Ledger:
    """Return the ledger of a folded stream; raise `LedgerNotFound` if the stream has no events."""
    if state is None:
        raise ledger_not_found(name)
    assert isinstance(state, Ledger)
    return state


def register_asset(ledger: Ledger, asset: str) -> list[tuple[str, Event]]:
    """Return the event that registers the asset, or nothing if the ledger has it.

    Raises `AssetScaleConflict` if the asset's code is in use with another scale.
    """
    code, scale = split_asset(asset)
    known = ledger.assets.get(code)
    if known is None:
        return [(ledger_stream(ledger.name), AssetRegistered(code=code, scale=scale))]
    if known != scale:
        raise asset_scale_conflict(asset, code, known)
    return []
