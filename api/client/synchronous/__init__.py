"""The client for programs without an event loop. Generated from `asynchronous` by `scripts/synchronous_client.py`."""

from .ledger import Ledger
from .tallystick import Tallystick

__all__ = ["Ledger", "Tallystick"]
