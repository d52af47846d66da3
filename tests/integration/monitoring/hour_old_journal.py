"""A journal that was written an hour ago, and what was owed then: requests, a hold, payouts, deliveries."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.model.postings import AcceptTransaction, PostTransaction
from domain.model.times import Instant, instant, later
from domain.model.transactions import Description
from tests.ledgers import CONTEXT, open_accounts, outcomes, transfer
from tests.outboxes import register
from tests.payouts import a_request
from tests.receiver import Receiver

AGE_SECONDS = 3_600
FORGOTTEN, SLOW, PENDING, WRONG = "forgotten", "slow", "pending", "wrong"
"""The payouts: by a provider that is not configured, one that hangs, one that has no outcome yet, one that lies."""


class Receivers(NamedTuple):
    """The receivers of the webhooks: one refuses a certain event, one wants nothing more, one is out of order."""

    choosy: Receiver
    gone: Receiver
    broken: Receiver


class Owed(NamedTuple):
    """The ids of the webhooks, as in `Receivers`, and of the payouts."""

    choosy: UUID
    gone: UUID
    broken: UUID
    payouts: dict[str, str]


def an_hour_ago() -> Instant:
    """The time by a clock that is an hour slow."""
    return instant(datetime.now(UTC) - timedelta(seconds=AGE_SECONDS))


def write(database: Database, receivers: Receivers) -> Owed:
    """Write the journal by a slow clock, without a worker, a payer, a projector or a publisher."""
    with database.connect("test") as connection:
        choosy, gone, broken = (register(connection, receiver.url).id for receiver in receivers)
    with LedgerApplication(database, an_hour_ago) as ledger:
        ledger.start()
        open_accounts(ledger, "alice", "bob", "poison")
        outcomes(ledger.execute(*(transfer("alice", "bob", 1) for _ in range(5))).result())
        ledger.perform(_request(AcceptTransaction, "waits"))
        ledger.perform(_request(PostTransaction, "lapses", True, later(an_hour_ago(), 60)))
        payouts = {
            FORGOTTEN: _payout(ledger, FORGOTTEN, "bank", {"iban": "1"}),
            SLOW: _payout(ledger, SLOW, "slow", {"iban": "1"}),
            PENDING: _payout(ledger, PENDING, "simulator", {"simulate": "submitted"}),
            WRONG: _payout(ledger, WRONG, "simulator", {"simulate": "stuck"}),
        }
    return Owed(choosy, gone, broken, payouts)


def _request(kind: type[PostTransaction], key: str, *more: Any) -> PostTransaction:
    like = transfer("alice", "bob", 5, key)
    return kind(CONTEXT, "main", like.operation, Description(), like.entries, None, *more)


def _payout(ledger: LedgerApplication, key: str, provider: str, destination: dict[str, Any]) -> str:
    request = a_request(key, provider=provider, destination=destination)
    id: str = ledger.perform(request).state.id
    return id
