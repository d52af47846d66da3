"""Clearing accounts: our money at a provider, or what another ledger owes. Opened by the first that needs one."""

from collections.abc import Sequence
from typing import NamedTuple

from domain.model.accounts import Account, AccountOpened, about
from domain.model.accounts import evolve as evolve_account
from domain.model.commands import Command, Read, envelope_of
from domain.model.errors import AccountExists
from domain.model.events import Event, Recorded, State
from domain.model.refusals import account_exists
from domain.model.times import Instant


class Clearing(NamedTuple):
    """A clearing account, and the event that opens it, if it is opened now."""

    stream: str
    account: Account
    opened: Sequence[tuple[str, Event]]

    def refusal(self, asset: str, pointer: str) -> AccountExists | None:
        """Return the refusal if it was opened before as another kind of account, else None.

        `pointer` is the place of the account in the transaction.
        """
        wanted = {"asset": asset, "normal_side": "debit"}
        differs = [name for name, value in wanted.items() if getattr(self.account, name) != value]
        return account_exists(about(self.account, pointer), differs) if differs else None

    def beside(self, read: Read) -> Read:
        """Return a reader of streams that also knows this account."""

        def with_account(stream: str) -> State:
            return self.account if stream == self.stream else read(stream)

        return with_account


def clearing_at(stream: str, asset: str, command: Command, read: Read, now: Instant) -> Clearing:
    """Return the clearing account at a stream, which the command opens if it is not there.

    It has no limits. So its balance goes below zero if the provider pays first and we pay the provider later. An
    operator who sets a `min_balance` makes it a provider that must be funded first.
    """
    known = read(stream)
    if isinstance(known, Account):
        return Clearing(stream, known, ())
    opened = AccountOpened(asset=asset, normal_side="debit", min_balance=None, max_balance=None, metadata={})
    recorded = Recorded(stream, 1, 0, envelope_of(command, now), opened)
    return Clearing(stream, evolve_account(None, recorded), [(stream, opened)])
