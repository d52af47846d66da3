"""The violations of the journal's rules."""

from typing import NamedTuple

from projections.audit.stored import Stored


class Violation(NamedTuple):
    """A rule broken by an event: a stable code, the event's place, and what was found, in words.

    The codes: `position_gap version_gap time_reversed event_unreadable event_misplaced account_not_open
    amount_out_of_range limit_broken totals_unbalanced transaction_unbalanced entries_unmatched balance_after_wrong
    key_mismatch hold_misused settlement_exceeds_hold reversal_exceeds_original asset_conflict payout_unmatched`.
    """

    code: str
    position: int
    stream: str
    words: str

    def __str__(self) -> str:
        return f"{self.code} at position {self.position}, {self.stream}: {self.words}"


def violation(code: str, event: Stored, words: str) -> Violation:
    """Return the violation of a rule by an event."""
    return Violation(code, event.position, event.stream, words)
