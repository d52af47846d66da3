"""The invariants of every journal, checked by a fold that shares no code with the ledger.

It reads events by their topics and members, like an auditor with an exported journal.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import to_builtins

from domain.model.accounts import Account
from domain.model.events import Recorded, State
from domain.model.idempotency import operation_id
from domain.model.streams import ledger_of

LARGEST = 9007199254740991

MOVING = {
    "account.entries_posted",
    "account.entries_held",
    "account.entries_settled",
    "account.entries_released",
}
POSTED = {"transaction.posted", "transaction.settlement_posted", "transaction.reversal_posted"}
OUTCOMES = POSTED | {"transaction.held", "transaction.void_recorded", "transaction.rejected"}
ENDINGS = {"transaction.hold_settled", "transaction.hold_voided", "transaction.hold_expired"}

Sums = Counter[tuple[str, str]]
"""Amounts by address and direction."""


class Sheet:
    """An account, summed."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.asset, self.side = data["asset"], data["normal_side"]
        self.minimum, self.maximum = data["min_balance"], data["max_balance"]
        self.status = "open"
        self.posted = {"debit": 0, "credit": 0}
        self.pending = {"debit": 0, "credit": 0}

    @property
    def other_side(self) -> str:
        return "debit" if self.side == "credit" else "credit"

    @property
    def balance(self) -> int:
        return self.posted[self.side] - self.posted[self.other_side]

    @property
    def available(self) -> int:
        return self.balance - self.pending[self.other_side]

    @property
    def highest(self) -> int:
        """The balance if everything pending comes in."""
        return self.balance + self.pending[self.side]

    def move(self, topic: str, data: dict[str, Any]) -> None:
        """Add one transaction's sums. They stay in range, and no limit is broken further."""
        before = self.available, self.highest
        for side in ("debit", "credit"):
            amount = data[f"{side}s"]
            released = data[f"held_{side}s"] if topic == "account.entries_settled" else amount
            if topic in ("account.entries_posted", "account.entries_settled"):
                self.posted[side] += amount
            if topic == "account.entries_held":
                self.pending[side] += amount
            elif topic != "account.entries_posted":
                assert amount <= released
                self.pending[side] -= released
            assert self.pending[side] >= 0 and self.posted[side] + self.pending[side] <= LARGEST
        if self.minimum is not None and self.available < self.minimum:
            assert self.available >= before[0]
        if self.maximum is not None and self.highest > self.maximum:
            assert self.highest <= before[1]
        assert self.status == "open" or (self.status, topic) == ("frozen", "account.entries_released")


class Audit:
    """A journal read from its beginning."""

    def __init__(self) -> None:
        self.position = 0
        self.recorded_at = ""
        self.versions: Counter[str] = Counter()
        self.sheets: dict[str, Sheet] = {}
        self.made: dict[str, Recorded] = {}
        self.ended: set[str] = set()
        self.reversed: defaultdict[str, Sums] = defaultdict(Counter)

    def read(self, recorded: Recorded) -> None:
        """Read the next event."""
        stream, envelope, event = recorded.stream, recorded.envelope, recorded.event
        self.position += 1
        self.versions[stream] += 1
        assert (recorded.position, recorded.version) == (self.position, self.versions[stream]), "a gap"
        assert envelope.recorded_at >= self.recorded_at
        self.recorded_at = envelope.recorded_at
        topic, data = event.TOPIC, to_builtins(event)
        if topic.startswith("account."):
            self._account(stream, topic, data)
        elif topic.startswith("transaction."):
            # Account events come before those of the transactions, so from here on they show all of it.
            self._require_balance()
            if topic in OUTCOMES:
                self._outcome(recorded, topic, data)
            elif topic in ENDINGS:
                self._ending(recorded)
        elif topic in ("payout.completed", "payout.failed") and data["booked_by"]:
            assert (
                self.made[f"{ledger_of(stream)}/transactions/{data['booked_by']}"].position
                < recorded.position
            )

    def _account(self, stream: str, topic: str, data: dict[str, Any]) -> None:
        if topic == "account.opened":
            assert stream not in self.sheets
            self.sheets[stream] = Sheet(data)
            return
        sheet = self.sheets[stream]
        assert sheet.status != "closed"
        if topic in MOVING:
            sheet.move(topic, data)
        elif topic == "account.limits_changed":
            sheet.minimum, sheet.maximum = data["min_balance"], data["max_balance"]
            assert None in (sheet.minimum, sheet.maximum) or sheet.minimum <= sheet.maximum
        elif topic == "account.closed":
            assert sheet.balance == sheet.available == sheet.highest == 0
            sheet.status = "closed"
        elif topic != "account.metadata_changed":
            sheet.status = {"account.frozen": "frozen", "account.unfrozen": "open"}[topic]

    def _require_balance(self) -> None:
        """Assert debits = credits for each asset, of posted and of pending amounts."""
        difference: Counter[tuple[str, str, str]] = Counter()
        for stream, sheet in self.sheets.items():
            for name, sums in (("posted", sheet.posted), ("pending", sheet.pending)):
                difference[ledger_of(stream), sheet.asset, name] += sums["debit"] - sums["credit"]
        assert not any(difference.values())

    def _outcome(self, recorded: Recorded, topic: str, data: dict[str, Any]) -> None:
        stream, key = recorded.stream, recorded.envelope.idempotency_key
        assert stream not in self.made, "a key made two transactions"
        ledger = ledger_of(stream)
        assert key and stream == f"{ledger}/transactions/{operation_id(ledger, key)}"
        self.made[stream] = recorded
        if topic in POSTED:
            after = {entry["account"]: entry["balance_after"] for entry in data["entries"]}
            for address, balance in after.items():
                assert self.sheets[f"{ledger}/accounts/{address}"].balance == balance
        if topic == "transaction.settlement_posted":
            held = self.made[f"{ledger}/transactions/{data['settles']}"]
            assert held.event.TOPIC == "transaction.held"
            assert _sums(data["entries"]) <= _sums(to_builtins(held.event)["entries"])
        if topic == "transaction.reversal_posted":
            self._reversal(f"{ledger}/transactions/{data['reverses']}", data)

    def _reversal(self, original_stream: str, data: dict[str, Any]) -> None:
        original = self.made[original_stream].event
        assert original.TOPIC in POSTED - {"transaction.reversal_posted"}
        self.reversed[original_stream] += _sums(data["entries"])
        assert self.reversed[original_stream] <= _mirror(_sums(to_builtins(original)["entries"]))

    def _ending(self, recorded: Recorded) -> None:
        held = self.made[recorded.stream].event
        assert held.TOPIC == "transaction.held" and recorded.stream not in self.ended, "ended twice"
        self.ended.add(recorded.stream)
        expires_at = to_builtins(held)["expires_at"]
        if recorded.event.TOPIC == "transaction.hold_expired":
            assert expires_at <= self.recorded_at
        else:
            assert expires_at is None or self.recorded_at < expires_at

    def require_same(self, states: Mapping[str, State]) -> None:
        """Assert that the ledger's fold of the accounts equals the sums made here."""
        accounts = {stream: state for stream, state in states.items() if isinstance(state, Account)}
        assert accounts.keys() == self.sheets.keys()
        for stream, account in accounts.items():
            sheet = self.sheets[stream]
            assert account.version == self.versions[stream]
            assert (account.balance, account.available, account.status) == (
                sheet.balance,
                sheet.available,
                sheet.status,
            )
            assert [account.posted_debits, account.posted_credits] == [*sheet.posted.values()]
            assert [account.pending_debits, account.pending_credits] == [*sheet.pending.values()]
            assert (account.min_balance, account.max_balance) == (sheet.minimum, sheet.maximum)


def check(events: Sequence[Recorded], states: Mapping[str, State]) -> None:
    """Check a whole journal, and the states it led to."""
    audit = Audit()
    for recorded in events:
        audit.read(recorded)
    audit.require_same(states)


def _sums(entries: Iterable[dict[str, Any]]) -> Sums:
    sums: Sums = Counter()
    for entry in entries:
        sums[entry["account"], entry["direction"]] += entry["amount"]
    return sums


def _mirror(sums: Sums) -> Sums:
    return Counter(
        {
            (address, "credit" if direction == "debit" else "debit"): amount
            for (address, direction), amount in sums.items()
        }
    )
