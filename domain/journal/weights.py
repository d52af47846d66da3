"""The memory of states and commands that callers can make large: metadata, entries, the assets of a ledger.

Caches and queues are bounded by this as well as by their number. An account takes about 900 bytes, and its metadata can
take a hundred times as much. A command of a thousand entries takes a hundred times as much as one of two.
"""

from collections.abc import Iterable, Mapping
from sys import getsizeof
from typing import Any

from domain.model.accounts import Account, ChangeAccount, OpenAccount
from domain.model.commands import Command
from domain.model.events import State
from domain.model.ledgers import Ledger, OpenLedger
from domain.model.transactions import Keyed

COMMAND_BYTES = 1_000
ENTRY_BYTES = 250


def weight_of(state: State) -> int:
    """Return about how many bytes the metadata and the assets of a state take."""
    if isinstance(state, Account):
        metadata, opening = state.metadata, state.opening.metadata
        return _size(metadata) + (0 if opening is metadata else _size(opening))
    if isinstance(state, Ledger):
        return _size(state.metadata) + getsizeof(state.assets) + 80 * len(state.assets)
    return 0


def _size(metadata: Mapping[str, str]) -> int:
    if not metadata:
        return 0
    return getsizeof(metadata) + sum(map(getsizeof, metadata)) + sum(map(getsizeof, metadata.values()))


def weight_of_commands(commands: Iterable[Command]) -> int:
    """Return about how many bytes commands take."""
    return sum(map(_weight_of_command, commands))


def _weight_of_command(command: Command) -> int:
    weight = COMMAND_BYTES + ENTRY_BYTES * len(getattr(command, "entries", None) or ())
    if isinstance(command, Keyed):
        words = command.description
        weight += getsizeof(words.description) + _size(words.metadata)
        destination = getattr(command, "destination", None)
        return weight + _size_of_json(destination) if destination else weight
    if isinstance(command, OpenAccount):
        return weight + _size(command.opening.metadata)
    if isinstance(command, OpenLedger | ChangeAccount) and isinstance(command.metadata, dict):
        return weight + _size(command.metadata)
    return weight


def _size_of_json(value: Any) -> int:
    parts: Iterable[Any] = ()
    if isinstance(value, dict):
        parts = (*value, *value.values())
    elif isinstance(value, list):
        parts = value
    return getsizeof(value) + sum(map(_size_of_json, parts))
