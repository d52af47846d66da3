"""The rules of the journal as a whole: no gaps, nothing out of place, debits equal to credits in each asset."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from psycopg import Connection

from projections.audit.account_rules import MOVING, AccountFold
from projections.audit.move_rules import MoveRules
from projections.audit.payout_rules import PayoutRules
from projections.audit.stored import BEYOND, INSTALLATION, Journal, Sample, Stored, Unfoldable
from projections.audit.transaction_rules import Command, History, TransactionRules
from projections.audit.violation import Violation, violation
from projections.audit.witnessed_rules import WitnessedRules


class Rules:
    """Checks every event of a journal from its beginning. It keeps the accounts, so its memory grows with them."""

    def __init__(self, history: History) -> None:
        self._accounts: dict[str, AccountFold] = {}
        self._ledgers: dict[str, int] = {}
        self._keys: dict[str, int] = {}
        self._witnessed = WitnessedRules()
        self._scales: dict[tuple[str, str], int] = {}
        self._transactions = TransactionRules(self._accounts, history)
        self._payouts = PayoutRules(history)
        self._command = Command()
        self._moves = MoveRules()
        self._position = 0
        self._recorded_at = ""

    def read(self, event: Stored) -> Iterator[Violation]:
        """Apply the next event; yield the rules that it breaks."""
        if event.position != self._position + 1:
            yield violation("position_gap", event, f"position {event.position} follows {self._position}")
        self._position = event.position
        yield from self._moves.read(event)
        if not self._moves.is_copy(event):
            recorded_at = event.envelope["recorded_at"]
            if recorded_at < self._recorded_at:
                yield violation("time_reversed", event, f"{recorded_at} follows {self._recorded_at}")
            self._recorded_at = recorded_at
        if event.topic in MOVING:
            self._command.moves.append(event)
            yield from self._of_account(event)
        elif event.topic.startswith("transaction."):
            yield from self._of_transaction(event)
        else:
            yield from self._ended()
            if event.topic.startswith("account."):
                yield from self._of_account(event)
            elif event.topic.startswith("payout."):
                yield from self._payouts.judge(event)
            elif event.topic.startswith("key."):
                yield from self._of_key(event)
            elif event.topic.startswith("checkpoint."):
                yield from self._witnessed.judge(event)
            elif event.ledger == INSTALLATION:
                yield from self._of_arrival(event)
            else:
                yield from self._of_ledger(event)

    def close(self) -> Iterator[Violation]:
        """Yield the rules that the journal breaks as a whole, after its last event."""
        yield from self._ended()
        sums: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        for stream, account in self._accounts.items():
            ledger = stream.partition("/")[0]
            sums[ledger, account.asset, "posted"] += account.posted_debits - account.posted_credits
            sums[ledger, account.asset, "pending"] += account.pending_debits - account.pending_credits
        for (ledger, asset, what), difference in sums.items():
            if difference:
                words = f"{what} debits − credits in {asset} come to {difference}"
                yield Violation("totals_unbalanced", self._position, f"{ledger}/ledger", words)

    def _of_account(self, event: Stored) -> Iterator[Violation]:
        account = self._accounts.get(event.stream)
        if account is not None:
            yield from account.read(event)
        elif event.topic == "account.opened":
            if event.version != 1:
                yield violation("version_gap", event, f"opened by version {event.version}")
            code, _, scale = event.data["asset"].partition("/")
            if self._scales.get((event.ledger, code)) != int(scale):
                yield violation(
                    "asset_conflict", event, f"{event.data['asset']} is not as the ledger registered it"
                )
            self._accounts[event.stream] = AccountFold(event)
        else:
            yield violation("event_misplaced", event, f"{event.topic} before the account was opened")

    def _of_ledger(self, event: Stored) -> Iterator[Violation]:
        version = self._ledgers.get(event.stream, 0)
        if event.version != version + 1:
            yield violation("version_gap", event, f"version {event.version} follows {version}")
        if (event.topic == "ledger.opened") != (version == 0):
            yield violation("event_misplaced", event, f"{event.topic} after {version} events")
        self._ledgers[event.stream] = event.version
        if event.topic == "ledger.asset_registered":
            asset = event.ledger, event.data["code"]
            if asset in self._scales:
                yield violation("asset_conflict", event, f"{event.data['code']} was registered before")
            self._scales[asset] = event.data["scale"]

    def _of_key(self, event: Stored) -> Iterator[Violation]:
        """Check an event of a key. Any may be the first of its stream, because older releases recorded none."""
        version = self._keys.get(event.stream, 0)
        if event.version != version + 1:
            yield violation("version_gap", event, f"version {event.version} follows {version}")
        self._keys[event.stream] = event.version
        if event.stream != f"{INSTALLATION}/keys/{event.name}":
            yield violation("event_misplaced", event, f"{event.topic} in a stream that is not this key's")

    def _of_arrival(self, event: Stored) -> Iterator[Violation]:
        version = self._keys.get(event.stream, 0)
        if event.version != version + 1:
            yield violation("version_gap", event, f"version {event.version} follows {version}")
        self._keys[event.stream] = event.version

    def _of_transaction(self, event: Stored) -> Iterator[Violation]:
        yield from self._transactions.judge(event, self._command)
        if event.topic in ("transaction.hold_settled", "transaction.hold_voided", "transaction.reversed"):
            if self._command.change is not None:
                yield violation("entries_unmatched", event, "follows another that belongs to no transaction")
            self._command.change = event
        else:
            if self._command.change is not None and not _has_change(event):
                yield violation(
                    "entries_unmatched", event, f"{self._command.change.topic} belongs to no transaction"
                )
            self._command = Command()

    def _ended(self) -> Iterator[Violation]:
        """Check that no command is incomplete when the next begins."""
        command = self._command
        if command.moves or command.change:
            first = command.moves[0] if command.moves else command.change
            assert first is not None
            yield violation("entries_unmatched", first, f"{first.topic} belongs to no transaction")
            self._command = Command()


def violations(connection: Connection[Any], sample: Sample | None = None) -> Iterator[Violation]:
    """Yield the rules that the journal breaks. With a sample: those that its accounts break, each checked by itself.

    Call it within `one_instant`. It ends at the first event that cannot be understood, with `event_unreadable`.
    """
    journal = Journal(connection, BEYOND, sample=sample)
    if sample is None:
        return broken(journal.of_topics(), _History(journal))
    return _broken_by_accounts(journal)


def broken(events: Iterable[Stored], history: History, *, is_whole: bool = True) -> Iterator[Violation]:
    """Yield the rules that a journal breaks, given its events from the first on. `is_whole`: also check its end."""
    rules = Rules(history)
    try:
        for event in events:
            yield from _understood(event, rules.read)
        if is_whole:
            yield from rules.close()
    except Unfoldable as error:
        yield Violation("event_unreadable", error.position, "", f"{error}; nothing after it was judged")


def _broken_by_accounts(journal: Journal) -> Iterator[Violation]:
    try:
        for _, events in journal.accounts():
            yield from _of_one_account(events)
    except Unfoldable as error:
        yield Violation("event_unreadable", error.position, "", str(error))


def _understood(event: Stored, read: Callable[[Stored], Iterator[Violation]]) -> Iterator[Violation]:
    try:
        yield from read(event)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unfoldable(event.position, f"is not one that any release wrote: {error!r}") from error


class _History:
    """Looks streams up in the database. It keeps the last one, because a command asks for it several times in a row."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._stream = ""
        self._events: Sequence[Stored] = ()

    def __call__(self, stream: str) -> Sequence[Stored]:
        if stream != self._stream:
            self._stream, self._events = stream, self._journal.of_stream(stream)
        return self._events


def _of_one_account(events: Iterable[Stored]) -> Iterator[Violation]:
    opening, *others = events
    if (opening.topic, opening.version) != ("account.opened", 1):
        yield violation("event_misplaced", opening, f"begins with version {opening.version}, {opening.topic}")
        return
    account = AccountFold(opening)
    for event in others:
        yield from _understood(event, account.read)


def _has_change(event: Stored) -> bool:
    return event.topic in (
        "transaction.settlement_posted",
        "transaction.void_recorded",
        "transaction.reversal_posted",
    )
