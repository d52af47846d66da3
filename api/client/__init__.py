"""The ledger from the caller's side: a typed client, sync and async. Imports nothing else of the project.

`Tallystick` is the asynchronous client. `synchronous.Tallystick` is the same for code without an event loop, generated
by `python -m scripts.synchronous_client`. Imports are relative, because the package is also a wheel of its own, named
`tallystick_client`.
"""

from .asynchronous import Ledger, Tallystick
from .entries import Entry, credit, debit
from .errors import (
    BatchIncomplete,
    ChangeUnknown,
    HistoryLost,
    InexactAmount,
    NoOutcome,
    NotRecorded,
    OutcomeUnknown,
    TallystickError,
    Unreachable,
    Unusable,
    WebhookUnverified,
)
from .keyed_requests import Item, Post, Reverse, Settle, Void
from .keys import id_of, new_key
from .money import Money
from .outcomes import Done, NotDone, Outcome, Refused, StillWorking, expect_done
from .problem import Problem
from .retries import Policy

__all__ = [
    "BatchIncomplete",
    "ChangeUnknown",
    "Done",
    "Entry",
    "HistoryLost",
    "InexactAmount",
    "Item",
    "Ledger",
    "Money",
    "NoOutcome",
    "NotDone",
    "NotRecorded",
    "Outcome",
    "OutcomeUnknown",
    "Policy",
    "Post",
    "Problem",
    "Refused",
    "Reverse",
    "Settle",
    "StillWorking",
    "Tallystick",
    "TallystickError",
    "Unreachable",
    "Unusable",
    "Void",
    "WebhookUnverified",
    "credit",
    "debit",
    "expect_done",
    "id_of",
    "new_key",
]
