"""The memory of the parts of states that callers can make large: metadata, and the assets of a ledger.

Caches and queues of states are bounded by this as well as by their number: an account takes about 900 bytes, and its
metadata can take a hundred times as much.
"""

from collections.abc import Mapping
from sys import getsizeof

from domain.model.accounts import Account
from domain.model.events import State
from domain.model.ledgers import Ledger


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
