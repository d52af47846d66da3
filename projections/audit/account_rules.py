"""The rules of one account: what its events may do to it, one after another."""

from collections.abc import Iterator

from projections.audit.stored import Stored
from projections.audit.violation import Violation, violation

LARGEST = 9_007_199_254_740_991
"""The largest total, in minor units: 2^53 − 1, which is exact in every client."""

MOVING = (
    "account.entries_posted",
    "account.entries_held",
    "account.entries_settled",
    "account.entries_released",
)


class AccountFold:
    """An account, summed from its opening on. Amounts are in minor units."""

    __slots__ = (
        "asset",
        "maximum",
        "minimum",
        "pending_credits",
        "pending_debits",
        "posted_credits",
        "posted_debits",
        "side",
        "status",
        "version",
    )

    def __init__(self, opening: Stored) -> None:
        data = opening.data
        self.asset: str = data["asset"]
        self.side: str = data["normal_side"]
        self.minimum: int | None = data["min_balance"]
        self.maximum: int | None = data["max_balance"]
        self.status = "open"
        self.posted_debits = self.posted_credits = 0
        self.pending_debits = self.pending_credits = 0
        self.version = opening.version

    @property
    def balance(self) -> int:
        """The posted balance, as the normal side sees it."""
        difference = self.posted_credits - self.posted_debits
        return difference if self.side == "credit" else -difference

    @property
    def available(self) -> int:
        """The balance minus the pending entries against it."""
        return self.balance - (self.pending_debits if self.side == "credit" else self.pending_credits)

    @property
    def highest(self) -> int:
        """The balance plus all pending entries in favour of it."""
        return self.balance + (self.pending_credits if self.side == "credit" else self.pending_debits)

    def read(self, event: Stored) -> Iterator[Violation]:
        """Apply the next event of the account; yield the rules that it breaks."""
        if event.version != self.version + 1:
            yield violation("version_gap", event, f"version {event.version} follows {self.version}")
        self.version = event.version
        if self.status == "closed":
            yield violation("account_not_open", event, f"{event.topic} after the account was closed")
        if event.topic in MOVING:
            yield from self._move(event)
        elif event.topic == "account.limits_changed":
            self.minimum, self.maximum = event.data["min_balance"], event.data["max_balance"]
            if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
                yield violation("limit_broken", event, f"the minimum {self.minimum} is above the maximum")
        elif event.topic == "account.closed":
            if self.balance or self.pending_debits or self.pending_credits:
                yield violation("account_not_open", event, f"was closed with a balance of {self.balance}")
            self.status = "closed"
        elif event.topic in ("account.frozen", "account.unfrozen"):
            self.status = "frozen" if event.topic == "account.frozen" else "open"
        elif event.topic == "account.opened":
            yield violation("event_misplaced", event, "the account was open before")

    def _move(self, event: Stored) -> Iterator[Violation]:
        if self.status == "frozen" and event.topic != "account.entries_released":
            yield violation("account_not_open", event, f"{event.topic} while the account was frozen")
        available, highest = self.available, self.highest
        self._sum(event)
        totals = (self.posted_debits + self.pending_debits, self.posted_credits + self.pending_credits)
        if max(totals) > LARGEST or min(self.pending_debits, self.pending_credits) < 0:
            yield violation(
                "amount_out_of_range",
                event,
                f"debits come to {self.posted_debits} posted and {self.pending_debits} pending,"
                f" credits to {self.posted_credits} and {self.pending_credits}",
            )
        # A limit that is already broken may be set. Only an event that makes the breach worse is a violation.
        if self.minimum is not None and self.available < min(self.minimum, available):
            yield violation(
                "limit_broken", event, f"available fell to {self.available}, minimum {self.minimum}"
            )
        if self.maximum is not None and self.highest > max(self.maximum, highest):
            yield violation(
                "limit_broken", event, f"the balance may reach {self.highest}, maximum {self.maximum}"
            )

    def _sum(self, event: Stored) -> None:
        data = event.data
        debits, credits = data["debits"], data["credits"]
        match event.topic:
            case "account.entries_posted":
                self.posted_debits += debits
                self.posted_credits += credits
            case "account.entries_held":
                self.pending_debits += debits
                self.pending_credits += credits
            case "account.entries_settled":
                self.posted_debits += debits
                self.posted_credits += credits
                self.pending_debits -= data["held_debits"]
                self.pending_credits -= data["held_credits"]
            case _:
                self.pending_debits -= debits
                self.pending_credits -= credits
