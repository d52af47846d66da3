"""The refusals of the ledger's rules, by code."""

from typing import Any

from .problem import RuleRefusal


class LedgerExists(RuleRefusal):
    """The ledger was opened with other metadata."""

    code = "ledger_exists"


class AccountExists(RuleRefusal):
    """The account was opened with other attributes."""

    code = "account_exists"


class AssetScaleConflict(RuleRefusal):
    """The ledger uses the asset's code with another scale."""

    code = "asset_scale_conflict"


class HoldExpired(RuleRefusal):
    """The hold has expired."""

    code = "hold_expired"


class HoldNotPending(RuleRefusal):
    """The hold was settled or voided before."""

    code = "hold_not_pending"


class HoldReserved(RuleRefusal):
    """The hold belongs to a payout."""

    code = "hold_reserved"


class NotReversible(RuleRefusal):
    """Nothing of the transaction remains to be reversed."""

    code = "not_reversible"


class AccountClosed(RuleRefusal):
    """The account is closed."""

    code = "account_closed"


class AccountFrozen(RuleRefusal):
    """The account is frozen."""

    code = "account_frozen"


class AccountNotEmpty(RuleRefusal):
    """Only an account with no balance and nothing pending can be closed."""

    code = "account_not_empty"


class AmountExceedsHold(RuleRefusal):
    """More is asked for than is held."""

    code = "amount_exceeds_hold"
    held: int | None
    requested: int | None


class AmountExceedsReversible(RuleRefusal):
    """More is asked for than remains to be reversed."""

    code = "amount_exceeds_reversible"
    reversible: int | None
    requested: int | None


class AmountOverflow(RuleRefusal):
    """The account's totals cannot grow by that much."""

    code = "amount_overflow"


class InsufficientFunds(RuleRefusal):
    """The account would fall below its `min_balance`, by `shortfall`."""

    code = "insufficient_funds"
    available: int | None
    min_balance: int | None
    requested: int | None
    shortfall: int | None


class BalanceLimitExceeded(RuleRefusal):
    """The account would rise above its `max_balance`, by `excess`."""

    code = "balance_limit_exceeded"
    balance: int | None
    max_balance: int | None
    requested: int | None
    excess: int | None


class BatchRejected(RuleRefusal):
    """An atomic batch was not carried out: `problem` refused the item at `index`. The keys stay free."""

    code = "batch_rejected"
    problem: dict[str, Any] | None


class PayoutEnded(RuleRefusal):
    """The payout has ended otherwise."""

    code = "payout_ended"
