"""Requests for payouts: the amount is held, or the request is refused, like any keyed request."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from domain.model.accounts import Account, existing_account
from domain.model.commands import Decision, Read
from domain.model.entries import Entry
from domain.model.errors import InvalidRequest, LedgerError
from domain.model.events import Event, State
from domain.model.ledgers import Ledger, existing_ledger
from domain.model.payouts.bridges import is_bridge, is_bridge_account
from domain.model.payouts.clearing import clearing_at
from domain.model.payouts.payout import PayoutAccepted, PayoutRejected, clearing_account, existing_payout
from domain.model.postings import PostTransaction
from domain.model.streams import account_stream, ledger_stream, payout_stream
from domain.model.times import Instant
from domain.model.transactions import Acceptance, Keyed, Transaction, TransactionRejected

MARK_LENGTH = 12
"""How many hex digits at the end of a provider's key tell ledgers of the same name apart."""


class RequestPayout(Keyed):
    """Hold an amount of an account, to be paid out through a provider.

    The hold debits the account and credits the provider's clearing account. The first payout that needs the clearing
    account opens it. `objection` is what is wrong now with the provider or, for a bridge, with the ledger that it leads
    to. A request that was answered before is answered again in any case.
    """

    account: str
    amount: int
    provider: str
    destination: dict[str, Any]
    objection: LedgerError | None

    @property
    def payout_stream(self) -> str:
        """The stream of the payout that the request makes."""
        return payout_stream(self.ledger, self.operation.id)

    def streams(self) -> Sequence[str]:
        """Return the streams of the ledger, of the account and of the payout."""
        return [ledger_stream(self.ledger), account_stream(self.ledger, self.account), self.payout_stream]

    def following_streams(self, read: Read) -> Sequence[str]:
        """Return the stream of the clearing account, which has the account's asset."""
        account = read(account_stream(self.ledger, self.account))
        return [self._clearing_stream(account)] if isinstance(account, Account) else []

    def first_answer(self, existing: Transaction | Acceptance, read: Read) -> State:
        """Return the payout as the first answer showed it."""
        return existing_payout(read(self.payout_stream), existing.id).as_first_answered()

    def decide_new(self, read: Read, now: Instant) -> Decision:
        """Hold the amount and accept the payout, or record the refusal.

        Raises, in this order, the objection, `AccountNotFound`, and `InvalidRequest` for an account that cannot be paid
        out from.
        """
        if self.objection is not None:
            raise self.objection
        stream = account_stream(self.ledger, self.account)
        account = existing_account(read(stream), self.ledger, self.account, "/account")
        self._require_payable(account)
        clearing = clearing_at(self._clearing_stream(account), account.asset, self, read, now)
        hold = self._hold(account)
        if refusal := clearing.refusal(account.asset, "/entries/1"):
            held = hold.refuse(refusal, now)
        else:
            held = hold.make(clearing.beside(read), now)
        ledger = existing_ledger(read(ledger_stream(self.ledger)), self.ledger)
        return self._answered(ledger, account, clearing.opened, held)

    def _require_payable(self, account: Account) -> None:
        """Raise `InvalidRequest` if the account cannot be debited by this payout.

        Only a bridge may debit an account whose normal side is debit: it moves an asset to or from another ledger,
        while a payout that raised a balance would pay out what nobody has.
        """
        if is_bridge(self.provider, self.destination):
            if is_bridge_account(account.address):
                raise InvalidRequest("/account", "an account that bridges keep cannot be sent from")
        elif account.normal_side != "credit":
            raise InvalidRequest(
                "/account", "only an account whose normal side is credit can be paid out from"
            )

    def _answered(
        self, ledger: Ledger, account: Account, opened: Sequence[tuple[str, Event]], held: Decision
    ) -> Decision:
        asked: dict[str, Any] = {
            "fingerprint": self.operation.fingerprint,
            "account": self.account,
            "asset": account.asset,
            "amount": self.amount,
            "provider": self.provider,
            "destination": self.destination,
            "reference": self.description.reference,
            "metadata": self.description.metadata,
        }
        _, made = held.events[-1]
        own: Event
        if isinstance(made, TransactionRejected):
            own = PayoutRejected(
                code=made.code, detail=made.detail, details=_of_request(made.details), **asked
            )
        else:
            own = PayoutAccepted(provider_key=provider_key(ledger, self.operation.id), **asked)
        # The clearing account is opened for a refusal too, because the rejected transaction names it.
        return Decision([*opened, *held.events, (self.payout_stream, own)], self.payout_stream)

    def _hold(self, account: Account) -> PostTransaction:
        entries = (
            Entry(account=self.account, direction="debit", amount=self.amount),
            Entry(
                account=self._clearing_account(account),
                direction="credit",
                amount=self.amount,
            ),
        )
        keyed = (self.context, self.ledger, self.operation, self.description)
        return PostTransaction(*keyed, entries, pending=True)

    def _clearing_stream(self, account: Account) -> str:
        return account_stream(self.ledger, self._clearing_account(account))

    def _clearing_account(self, account: Account) -> str:
        return clearing_account(self.provider, self.destination, account.asset)


def provider_key(ledger: Ledger, payout_id: str) -> str:
    """Return the key under which a provider knows a payout. It is the same whenever the request is decided.

    A database that is restored to an earlier point lacks payouts that were made after it. When a client repeats the
    request for one, the provider is asked under the same key again, and does not pay twice. The last part is made from
    the time at which the ledger was opened, to the microsecond. It tells the ledger from those of the same name in
    other installations.
    """
    mark = sha256(f"{ledger.name} {ledger.opened_at}".encode()).hexdigest()[:MARK_LENGTH]
    return f"{ledger.name}.{payout_id}.{mark}"


def names_in(provider_key: str) -> tuple[str, str]:
    """Return the names of the ledger and of the payout that a provider's key was made from.

    Text that is no such key names nothing that exists.
    """
    ledger, _, rest = provider_key.partition(".")
    return ledger, rest.partition(".")[0]


# The entries of the hold, and the places of the request that they come from.
_POINTERS = {"/entries/0": "/account", "/entries/1": "/provider"}


def _of_request(details: dict[str, Any]) -> dict[str, Any]:
    """Return the details of the hold's refusal, with a pointer into the request for the payout."""
    pointer = details.get("pointer")
    return {**details, "pointer": _POINTERS[pointer]} if pointer in _POINTERS else details
