"""The application: commands go through the group commit; confirmation reads fold the aggregate from the journal.

It is an application of the eventsourcing library. The library's notification log, mapper and recorders work on it as
the library documents; only saving differs, because it is done in batches.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from eventsourcing.application import Application
from eventsourcing.persistence import InterfaceError, OperationalError
from psycopg import Connection

from domain.commit.decider import Result
from domain.commit.group_commit import GroupCommit
from domain.commit.interface import Commit
from domain.journal.database import Database, ReadOnlyDatabase
from domain.journal.eventsourcing.factory import (
    DATABASE_URL,
    READ_ONLY,
    SCHEMA,
    JournalDatastore,
    JournalFactory,
)
from domain.journal.outage import reason_of
from domain.journal.reader import UnreadableAggregate, read_aggregates, read_beginnings, read_past
from domain.model.accounts import Account, existing_account
from domain.model.commands import Command, Outcome
from domain.model.errors import AccountNotFound, BeyondJournal, InvalidRequest, JournalUnavailable
from domain.model.events import State
from domain.model.idempotency import operation_id
from domain.model.ledgers import Ledger, existing_ledger
from domain.model.payouts.payout import Payout, existing_payout
from domain.model.refusals import operation_unknown
from domain.model.streams import account_stream, ledger_of, ledger_stream, payout_stream, transaction_stream
from domain.model.times import Instant, instant
from domain.model.transactions import Acceptance, Transaction, existing_transaction
from domain.tracing import Tracer

Found = TypeVar("Found")

MAX_CLOCK_DIFFERENCE_SECONDS = 5.0
"""How much a service's clock and the database's may differ unless configured otherwise.

Clocks kept by NTP differ by milliseconds. Every recorded instant, and every `expires_at` that is checked, may be wrong
by this much.
"""


def system_clock() -> Instant:
    """Return the current instant by this machine's clock."""
    return instant(datetime.now(UTC))


class AggregateReading(NamedTuple):
    """The states of some streams, and the head of the journal. No state is older than the head."""

    states: tuple[State, ...]
    head: int


class LedgerApplication(Application[str]):
    """Every command and every confirmation read of one installation."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], Instant] = system_clock,
        observe: Callable[[int, int, float], None] = lambda commands, events, seconds: None,
        max_clock_difference_seconds: float | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        """See `GroupCommit` for `observe`, `max_clock_difference_seconds` and `tracer`."""
        super().__init__(
            {
                "PERSISTENCE_MODULE": "domain.journal.eventsourcing.factory:JournalFactory",
                # The journal is plain JSON, whatever the environment says: auditors read it, and its bytes are hashed.
                "CIPHER_KEY": "",
                "CIPHER_TOPIC": "",
                "COMPRESSOR_TOPIC": "",
                DATABASE_URL: database.url,
                SCHEMA: database.schema,
                READ_ONLY: "true" if isinstance(database, ReadOnlyDatabase) else "false",
            }
        )
        assert isinstance(self.factory, JournalFactory) and isinstance(
            self.factory.datastore, JournalDatastore
        )
        self.datastore: JournalDatastore = self.factory.datastore
        """The pool of reader connections. Their rows are dictionaries."""
        self.group_commit = GroupCommit(database, clock, observe, max_clock_difference_seconds, tracer)
        self.commit: Commit = self.group_commit
        """What takes the commands: this process's own group commit, unless another process commits for it."""
        self._clock = clock

    def start(self) -> None:
        """Start taking commands."""
        self.group_commit.start()

    def close(self) -> None:
        """Commit the waiting commands, then end."""
        self.group_commit.stop()
        super().close()

    def execute(
        self, *commands: Command, all_or_none: bool = False, dry_run: bool = False
    ) -> "Future[Sequence[Result]]":
        """Queue commands and return a future of their results, which is set once they are durable."""
        results: Future[Sequence[Result]] = Future()
        self.commit.submit(commands, results.set_result, all_or_none=all_or_none, dry_run=dry_run)
        return results

    def perform(self, command: Command) -> Outcome:
        """Execute one command and return its outcome, or raise the exception that refused it."""
        (result,) = self.execute(command).result()
        if isinstance(result, Exception):
            raise result
        return result

    def head(self) -> int:
        """Return the newest position of the journal, or 0 while it is empty."""
        return self._read().head

    def ledger(self, ledger: str) -> tuple[Ledger, int]:
        """Return a ledger and the head; raise `LedgerNotFound`."""
        states, head = self._read(ledger_stream(ledger))
        return existing_ledger(states[0], ledger), head

    def account(self, ledger: str, address: str) -> tuple[Account, int]:
        """Return an account and the head; raise, in this order, `LedgerNotFound` and `AccountNotFound`."""
        states, head = self._read(ledger_stream(ledger), account_stream(ledger, address))
        existing_ledger(states[0], ledger)
        return existing_account(states[1], ledger, address), head

    def account_at(self, ledger: str, address: str, at: int | Instant) -> tuple[Account, int, int]:
        """Return an account as it was at a position or an instant, the position found, and the head.

        For an instant, the position found is that of the last event recorded at or before it. Raises, in this order,
        `InvalidRequest` for a position or instant in the future, `LedgerNotFound` if the ledger does not exist now, and
        `AccountNotFound`, with the position found, if the account was not open then.
        """
        now = self._clock()
        streams = [ledger_stream(ledger)], account_stream(ledger, address)
        past = self._on_primary(lambda connection: read_past(connection, *streams, at))
        if isinstance(at, int) and at > past.head:
            raise BeyondJournal("?at_position")
        if isinstance(at, str) and at > max(now, past.head_recorded_at):
            raise InvalidRequest("?at", "is in the future")
        _require_readable(*past.present, past.state)
        existing_ledger(past.present[0], ledger)
        try:
            return existing_account(past.state, ledger, address), past.position, past.head
        except AccountNotFound as missing:
            missing.position = past.position
            raise

    def transaction(self, ledger: str, transaction_id: str) -> tuple[Transaction, int]:
        """Return a transaction and the head; raise, in this order, `LedgerNotFound` and `TransactionNotFound`."""
        states, head = self._read(ledger_stream(ledger), transaction_stream(ledger, transaction_id))
        existing_ledger(states[0], ledger)
        return existing_transaction(states[1], transaction_id), head

    def payout(self, ledger: str, payout_id: str) -> tuple[Payout, int]:
        """Return a payout and the head; raise, in this order, `LedgerNotFound` and `PayoutNotFound`."""
        states, head = self._read(ledger_stream(ledger), payout_stream(ledger, payout_id))
        existing_ledger(states[0], ledger)
        return existing_payout(states[1], payout_id), head

    def payout_as_accepted(self, ledger: str, payout_id: str) -> tuple[Payout, int]:
        """Return a payout as it was when its request was recorded, and the head.

        The cost does not grow with the payout's history.
        Raises, in this order, `LedgerNotFound` and `PayoutNotFound`.
        """
        streams = ledger_stream(ledger), payout_stream(ledger, payout_id)
        states, head = self._on_primary(lambda connection: read_beginnings(connection, streams, ledger))
        _require_readable(*states)
        existing_ledger(states[0], ledger)
        return existing_payout(states[1], payout_id), head

    def operation(self, ledger: str, key: str) -> tuple[Transaction | Acceptance | Payout, int]:
        """Return what a keyed request made, or its acceptance, and the head. A payout takes precedence over its hold.

        Raises, in this order, `LedgerNotFound` and `OperationUnknown`.
        """
        id = operation_id(ledger, key)
        states, head = self._read(
            ledger_stream(ledger), transaction_stream(ledger, id), payout_stream(ledger, id)
        )
        existing_ledger(states[0], ledger)
        made = states[1] if states[2] is None else states[2]
        if made is None:
            raise operation_unknown(key)
        assert isinstance(made, Transaction | Acceptance | Payout)
        return made, head

    def _read(self, *streams: str) -> AggregateReading:
        """Fold streams of one ledger from the journal on the primary: every write acknowledged before is seen.

        Raises `LedgerMoved` or `LedgerMoving` if the ledger is not here.
        """
        ledger = ledger_of(streams[0]) if streams else None
        states, head = self._on_primary(lambda connection: read_aggregates(connection, streams, ledger))
        _require_readable(*states)
        return AggregateReading(states, head)

    def _on_primary(self, read: Callable[[Connection[Any]], Found]) -> Found:
        try:
            return self.datastore.read(read)
        except (OperationalError, InterfaceError) as error:
            raise JournalUnavailable(reason_of(error)) from error


def _require_readable(*states: State) -> None:
    for state in states:
        if isinstance(state, UnreadableAggregate):
            raise JournalUnavailable(state.reason)
