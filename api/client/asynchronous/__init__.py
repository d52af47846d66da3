"""The client for programs with an event loop. The package `synchronous` is generated from this one."""

from .ledger import Ledger
from .tallystick import Tallystick

__all__ = ["Ledger", "Tallystick"]
