"""What goes wrong with a payout: drawn at random, the same for the same seed, or given by a script.

A destination may name a script itself, so that whoever only reaches the service can try every outcome (`SIMULATED`).

The random draw depends on the seed and on the payout's destination, amount and reference, but not on when it comes. So
a run with the same orders has the same faults, whatever its threads do.
"""

import json
import random
import threading
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

Fault = Literal["none", "drop_before", "error_before", "drop_after", "error_after", "stall"]
"""What goes wrong with one submission. The connection is dropped, or an error is answered, before or after acting on
it. Or it is acted on and answered too late (`stall`)."""


class Rates(NamedTuple):
    """How likely each fault is, from 0 to 1. Times are in seconds."""

    drop_before: float = 0.0
    error_before: float = 0.0
    drop_after: float = 0.0
    error_after: float = 0.0
    stall: float = 0.0
    ask_error: float = 0.0
    fail: float = 0.0
    lie: float = 0.0
    lose: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    wrong_amount: float = 0.0
    delay_seconds: float = 0.0
    stall_seconds: float = 30.0


WORST = Rates(
    drop_before=0.15,
    error_before=0.1,
    drop_after=0.15,
    error_after=0.15,
    stall=0.05,
    ask_error=0.2,
    fail=0.2,
    lie=0.03,
    lose=0.2,
    duplicate=0.4,
    reorder=0.4,
    wrong_amount=0.0,
    delay_seconds=1.0,
    stall_seconds=3.0,
)
"""Nothing works as it should, except that amounts are right."""


class Order(NamedTuple):
    """A payout as it was submitted."""

    key: str
    amount: int
    asset: str
    destination: dict[str, Any]
    reference: str


class Plan(NamedTuple):
    """What will become of a payout. With `lie`, it is told as failed before it is told as completed."""

    outcome: Literal["completed", "failed"] = "completed"
    delay_seconds: float = 0.0
    lie: bool = False
    lose: bool = False
    duplicate: bool = False
    reorder: bool = False
    wrong_amount: bool = False


class Script(BaseModel):
    """What is to become of payouts with a destination, an amount, or both.

    `faults` has one fault for each submission in turn. Submissions after the last one are answered correctly.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    destination: dict[str, Any] | None = None
    amount: int | None = None
    faults: list[Fault] = []
    ask_errors: int = Field(0, ge=0)
    outcome: Literal["completed", "failed"] = "completed"
    delay_seconds: Annotated[float, Field(ge=0)] = 0.0
    lie: bool = False
    lose: bool = False
    duplicate: bool = False
    reorder: bool = False
    wrong_amount: bool = False

    def concerns(self, order: Order) -> bool:
        """Tell whether the script applies to this payout."""
        return self.destination in (None, order.destination) and self.amount in (None, order.amount)


_FOR_EVER_SECONDS = 10 * 365 * 86_400.0

SIMULATED: Mapping[str, Script] = {
    "failed": Script(outcome="failed"),
    "submitted": Script(delay_seconds=_FOR_EVER_SECONDS, lose=True),
    "in_doubt": Script(faults=["drop_after"], ask_errors=10**9, lose=True),
    "stuck": Script(wrong_amount=True),
}
"""The scripts a destination may name, such as `{"simulate": "failed"}`, each called by the state the payout ends in.

A payout with any other destination is completed, if nothing else was told.
"""


class Faults:
    """Decides what goes wrong."""

    def __init__(self, seed: int, rates: Rates) -> None:
        self.rates = rates
        self._seed = seed
        self._lock = threading.Lock()
        self._scripts: list[Script] = []

    def follow(self, script: Script) -> None:
        """Follow a script from now on. If several apply to a payout, the newest decides."""
        with self._lock:
            self._scripts.insert(0, script)

    def of_submission(self, order: Order, attempt: int) -> Fault:
        """Return what goes wrong with a submission. `attempt` counts the payout's submissions from 1."""
        if (script := self._script(order)) is not None:
            return script.faults[attempt - 1] if attempt <= len(script.faults) else "none"
        chance, rates = self._chance(order, "submission", attempt), self.rates
        drawn = chance.random()
        likely: tuple[tuple[Fault, float], ...] = (
            ("drop_before", rates.drop_before),
            ("error_before", rates.error_before),
            ("drop_after", rates.drop_after),
            ("error_after", rates.error_after),
            ("stall", rates.stall),
        )
        for fault, rate in likely:
            drawn -= rate
            if drawn < 0:
                return fault
        return "none"

    def of_inquiry(self, order: Order, attempt: int) -> bool:
        """Tell whether an inquiry fails. `attempt` counts the payout's inquiries from 1."""
        if (script := self._script(order)) is not None:
            return attempt <= script.ask_errors
        return self._chance(order, "inquiry", attempt).random() < self.rates.ask_error

    def plan(self, order: Order) -> Plan:
        """Return what will become of a payout once it is acted on."""
        if (script := self._script(order)) is not None:
            return Plan(**{name: getattr(script, name) for name in Plan._fields})
        chance, rates = self._chance(order, "plan", 0), self.rates
        return Plan(
            "failed" if chance.random() < rates.fail else "completed",
            chance.random() * rates.delay_seconds,
            *(
                chance.random() < rate
                for rate in (rates.lie, rates.lose, rates.duplicate, rates.reorder, rates.wrong_amount)
            ),
        )

    def _script(self, order: Order) -> Script | None:
        with self._lock:
            told = next((script for script in self._scripts if script.concerns(order)), None)
        return told or SIMULATED.get(str(order.destination.get("simulate")))

    def _chance(self, order: Order, of: str, attempt: int) -> random.Random:
        what = [self._seed, order.destination, order.amount, order.reference, of, attempt]
        return random.Random(json.dumps(what, sort_keys=True))
