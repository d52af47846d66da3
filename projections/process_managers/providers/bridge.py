"""The provider of bridges: another ledger, which posts an order under the order's key, and says what it did.

An order that the other ledger does not know may be submitted again, and a submission may come at any time later: under
its key it is posted or refused once, and every further submission gets the same answer.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

from domain.application import LedgerApplication
from domain.model.errors import (
    RULE_PRECEDENCE,
    AccountNotFound,
    IdempotencyKeyReused,
    JournalUnavailable,
    LedgerError,
    TransactionNotFound,
    UnbalancedTransaction,
)
from domain.model.events import Context
from domain.model.idempotency import Operation, fingerprint
from domain.model.payouts.bridges import BRIDGE, received_id, receiving_key
from domain.model.payouts.receiving import ReceiveBridge
from domain.model.payouts.reports import Report
from domain.model.payouts.requests import names_in
from domain.model.transactions import Description, Transaction
from projections.process_managers.providers.interface import Callback, NoAnswer, Order
from projections.process_managers.providers.siblings import Siblings

MAX_CALLS = 8
CALL_SECONDS = 5.0
"""How long a submission waits for the other ledger. It may be carried out later all the same."""

_REFUSALS: tuple[type[LedgerError], ...] = (AccountNotFound, UnbalancedTransaction, *RULE_PRECEDENCE)
_MEANINGS = {refusal.code: refusal.explanation() for refusal in _REFUSALS}


class BridgeProvider:
    """Submits orders to other ledgers. `destination` names the ledger and the account."""

    max_calls = MAX_CALLS
    patience_seconds = 2 * CALL_SECONDS

    def __init__(self, siblings: Siblings) -> None:
        self._siblings = siblings

    def submit(self, order: Order) -> Report:
        """Have an order posted, or refused, by the ledger that it leads to. Raises `NoAnswer`."""
        command = receipt_of(order)
        try:
            with self._siblings.calling(command.ledger) as application:
                return report_of(order, _performed(application, command))
        except (LedgerError, TimeoutError) as error:
            _explain(error)

    def ask(self, order: Order) -> Report:
        """Return what the ledger did about an order. Raises `NoAnswer`."""
        command = receipt_of(order)
        try:
            with self._siblings.calling(command.ledger) as application:
                made, _ = application.transaction(command.ledger, command.operation.id)
        except TransactionNotFound:
            return Report("unknown")
        except LedgerError as error:
            _explain(error)
        if made.fingerprint != command.operation.fingerprint:
            _explain(IdempotencyKeyReused())
        return report_of(order, made)

    def read_callback(self, payload: Mapping[str, Any]) -> Callback:
        """Raise `ValueError`: a ledger calls nobody back."""
        raise ValueError("ledgers send no callbacks")

    def close(self) -> None:
        """Do nothing: whoever opened the ledgers closes them."""


def receipt_of(order: Order) -> ReceiveBridge:
    """Return the command that posts an order at the ledger that it leads to. Raises `NoAnswer` if it names none."""
    sender, payout_id = names_in(order.key)
    try:
        ledger, account = order.destination["ledger"], order.destination["account"]
    except KeyError:
        raise NoAnswer("the destination names no ledger") from None
    key = receiving_key(order.key)
    asked = {"account": account, "amount": order.amount, "asset": order.asset}
    return ReceiveBridge(
        Context(sender_actor(sender), order.correlation_id, order.traceparent),
        ledger,
        Operation(key, received_id(ledger, order.key), fingerprint(BRIDGE, ledger, asked)),
        Description(reference=order.reference, metadata={"from_ledger": sender, "from_payout": payout_id}),
        sender=sender,
        account=account,
        amount=order.amount,
        asset=order.asset,
    )


def report_of(order: Order, made: Transaction) -> Report:
    """Return the report on an order that was posted or refused.

    A refusal is told by its code and meaning only: who reads the sender's payouts need not be allowed to know what is
    in the other ledger's accounts.
    """
    if made.rejection is None:
        return Report("completed", order.amount, order.asset, f"posted in {made.ledger}", made.id)
    code = made.rejection.code
    words = f"{code}: {_MEANINGS.get(code, '')} Transaction {made.id} in {made.ledger} has the details."
    return Report("failed", order.amount, order.asset, words, made.id)


def sender_actor(ledger: str) -> str:
    """Return the actor of what a ledger records for the ledger that a bridge comes from."""
    return f"{BRIDGE}:{ledger}"


def _performed(application: LedgerApplication, command: ReceiveBridge) -> Transaction:
    (result,) = application.execute(command).result(CALL_SECONDS)
    if isinstance(result, Exception):
        raise result
    made: Transaction = result.state
    return made


def _explain(error: LedgerError | TimeoutError) -> NoReturn:
    """Raise `NoAnswer` for an error that does not say what the other ledger did."""
    match error:
        case IdempotencyKeyReused():
            words = "the other ledger has another transfer under this key"
        case JournalUnavailable():
            words = f"the other ledger could not say: {error.code}, {error.reason}"
        case LedgerError():
            words = f"the other ledger could not say: {error.code}"
        case _:
            words = f"the other ledger did not answer within {CALL_SECONDS:g} s"
    raise NoAnswer(words, is_heard=_is_heard(error)) from error


def _is_heard(error: LedgerError | TimeoutError) -> bool:
    """Tell whether an error shows that the installation of the other ledger answers."""
    is_silent = isinstance(error, JournalUnavailable) and error.is_of_the_journal
    return isinstance(error, LedgerError) and not is_silent
