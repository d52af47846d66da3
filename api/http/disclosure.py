"""Who may see what a refusal says about an account: only those who may read the ledger's accounts.

Others meet such refusals too: operators who are neither client nor auditor resolve payouts and trace requests, and
providers call back. They see only the code and its meaning.

The errors of a projection may quote events of any ledger. They are shown to callers who were granted all the ledgers
that the error can be about.
"""

from collections.abc import Sequence

from api.http.declaration import READER
from api.problems import PROBLEM_TYPES
from api.security.keys import Key
from domain.model.payouts.payout import Payout
from domain.model.transactions import Rejection, Transaction
from projections.rebuilding.requests import Rebuild
from projections.running.positions import WITHHELD


def reads_accounts(caller: Key) -> bool:
    """Tell whether a key may read the accounts of its ledgers."""
    return not READER.isdisjoint(caller.roles)


def payout_as_told(payout: Payout, caller: Key) -> Payout:
    """Return a payout as its caller may see it."""
    if payout.rejection is None or not _is_withheld(payout.rejection, caller):
        return payout
    rejection = _meaning(payout.rejection)
    first, *others = payout.history
    told = first._replace(detail=rejection.detail)
    return payout._replace(rejection=rejection, history=(told, *others))


def transaction_as_told(transaction: Transaction, caller: Key) -> Transaction:
    """Return a transaction as its caller may see it."""
    if transaction.rejection is None or not _is_withheld(transaction.rejection, caller):
        return transaction
    return transaction._replace(rejection=_meaning(transaction.rejection))


def rebuild_as_told(rebuild: Rebuild, granted: Sequence[str] | None) -> Rebuild:
    """Return a rebuild as whom these ledgers were granted, every one for None, may know it.

    It is of the whole journal, and where it differs from the live version the rows that differ are shown.
    """
    if granted is None:
        return rebuild
    compared = tuple(comparison._replace(differing=()) for comparison in rebuild.comparisons)
    return rebuild._replace(last_error=rebuild.last_error and WITHHELD, comparisons=compared)


def _is_withheld(rejection: Rejection, caller: Key) -> bool:
    return "account" in rejection.details and not reads_accounts(caller)


def _meaning(rejection: Rejection) -> Rejection:
    return Rejection(rejection.code, PROBLEM_TYPES[rejection.code].meaning)
