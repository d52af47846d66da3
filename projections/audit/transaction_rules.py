"""The rules of transactions: the records of accounts and transactions by one command agree, and fit its kind.

A command's events are consecutive: first those of the accounts that it moves, one for each; then that of the
transaction that it settles, voids or reverses; then its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from projections.audit.account_rules import AccountFold
from projections.audit.keys import id_of
from projections.audit.stored import ENDED, MADE, POSTED, Stored
from projections.audit.violation import Violation, violation

History = Callable[[str], Sequence[Stored]]
"""Returns all events of a stream, by version."""

Sums = dict[str, tuple[int, int]]
"""Debits and credits by address."""

_MOVES = {
    "transaction.posted": "account.entries_posted",
    "transaction.reversal_posted": "account.entries_posted",
    "transaction.held": "account.entries_held",
    "transaction.settlement_posted": "account.entries_settled",
    "transaction.void_recorded": "account.entries_released",
    "transaction.hold_expired": "account.entries_released",
}
_CHANGES = {
    "transaction.settlement_posted": ("transaction.hold_settled", "settles", "settled_by"),
    "transaction.void_recorded": ("transaction.hold_voided", "voids", "voided_by"),
    "transaction.reversal_posted": ("transaction.reversed", "reverses", "reversed_by"),
}
"""For a transaction that settles, voids or reverses another: the other's event, and the members by which they name each
other."""


class Command:
    """The events of a command that were read so far."""

    def __init__(self) -> None:
        self.moves: list[Stored] = []
        self.change: Stored | None = None


class TransactionRules:
    """Checks the events of transactions, given the accounts as they are after them."""

    def __init__(self, accounts: Mapping[str, AccountFold], history: History) -> None:
        self._accounts = accounts
        self._history = history

    def judge(self, event: Stored, command: Command) -> Iterator[Violation]:
        """Yield the rules that an event of a transaction breaks, given the earlier events of its command."""
        if event.topic in MADE or event.topic == "transaction.accepted":
            yield from self._made(event)
        else:
            yield from self._changed(event)
        if event.topic in ("transaction.hold_settled", "transaction.hold_voided", "transaction.reversed"):
            return  # the command has more events
        yield from self._matched(event, command)
        if event.topic in POSTED:
            yield from self._posted(event)

    def _made(self, event: Stored) -> Iterator[Violation]:
        key = event.envelope["idempotency_key"]
        id = id_of(event.ledger, key)
        if not key or event.name != id:
            yield violation("key_mismatch", event, f"the key {key!r} makes the id {id}")
        topics = [earlier.topic for earlier in self._before(event)] if event.version > 1 else []
        accepted = [] if event.topic == "transaction.accepted" else ["transaction.accepted"]
        if topics and topics != accepted:
            yield violation("event_misplaced", event, f"{event.topic} after {', '.join(topics)}")
        elif len(topics) != event.version - 1:
            yield violation("version_gap", event, f"version {event.version} follows {len(topics)} events")
        asked = event.topic in ("transaction.rejected", "transaction.accepted", "transaction.void_recorded")
        if not asked and (differing := self._unbalanced(event)):
            yield violation("transaction_unbalanced", event, f"debits − credits: {differing}")

    def _changed(self, event: Stored) -> Iterator[Violation]:
        """Check a change of a transaction, by another transaction or by its own expiry."""
        before = self._before(event)
        if [earlier.version for earlier in before] != list(range(1, event.version)):
            yield violation("version_gap", event, f"version {event.version} follows {len(before)} events")
        made = next((earlier for earlier in before if earlier.topic in MADE), None)
        if event.topic == "transaction.reversed":
            yield from _over_reversed(event, made, before)
            return
        if made is None or made.topic != "transaction.held":
            yield violation("hold_misused", event, f"{event.topic} of a transaction that is no hold")
            return
        if any(earlier.topic in ENDED for earlier in before):
            yield violation("hold_misused", event, f"{event.topic} of a hold that had ended")
        expires_at, now = made.data["expires_at"], event.envelope["recorded_at"]
        if (expires_at is not None and expires_at <= now) != (event.topic == "transaction.hold_expired"):
            yield violation("hold_misused", event, f"{event.topic} at {now}, expires {expires_at}")

    def _matched(self, event: Stored, command: Command) -> Iterator[Violation]:
        """Check that the accounts recorded exactly what the transaction did."""
        sums = _sums(event.data.get("entries", ()))
        entries = {"held": sums, "moved": sums}
        named = self._named(event)
        if event.topic in _CHANGES:
            yield from _unlike(event, command, named)
        if event.topic == "transaction.settlement_posted" and named:
            entries["held"] = _sums(named.data["entries"])
            if not _is_part(entries["moved"], entries["held"]):
                yield violation("settlement_exceeds_hold", event, f"the hold {named.name} held less")
        elif event.topic == "transaction.hold_expired" and named:
            entries["moved"] = _sums(named.data["entries"])
        elif event.topic == "transaction.void_recorded" and named:
            if _compact(event) != _compact(named):
                yield violation("hold_misused", event, f"released other entries than {named.name} held")
        elif event.topic == "transaction.reversal_posted" and named and not _is_mirror(event, named):
            yield violation("reversal_exceeds_original", event, f"is no mirror of {named.name}")
        moved = {move.stream: move for move in command.moves}
        if len(moved) < len(command.moves):
            yield violation("entries_unmatched", event, "an account recorded the command twice")
        expected = self._expected_moves(event, **entries)
        for stream in moved.keys() | expected.keys():
            found = _told(moved[stream]) if stream in moved else None
            if found != expected.get(stream):
                wanted = expected.get(stream)
                yield violation("entries_unmatched", event, f"{stream} recorded {found}, must be {wanted}")
        for move in command.moves:
            if move.envelope["causation_id"] != event.envelope["causation_id"]:
                yield violation("entries_unmatched", event, f"{move.stream} was moved by another command")

    def _expected_moves(self, event: Stored, held: Sums, moved: Sums) -> dict[str, Mapping[str, Any]]:
        """Return what each account must have recorded about a transaction."""
        topic = _MOVES.get(event.topic)
        if topic is None:
            return {}
        hold = event.data.get("settles") or event.data.get("voids") or event.name
        expected: dict[str, Mapping[str, Any]] = {}
        for address in held.keys() | moved.keys():
            debits, credits = moved.get(address, (0, 0))
            told: dict[str, Any] = {"topic": topic, "debits": debits, "credits": credits}
            if topic != "account.entries_released":
                told["transaction_id"] = event.name
            if topic in ("account.entries_settled", "account.entries_released"):
                told["hold_id"] = hold
            if topic == "account.entries_settled":
                told["held_debits"], told["held_credits"] = held.get(address, (0, 0))
            expected[f"{event.ledger}/accounts/{address}"] = told
        return expected

    def _posted(self, event: Stored) -> Iterator[Violation]:
        """Check what the entries say about their accounts, which are in their state after the last of the entries."""
        after: dict[str, list[int]] = {}
        for address, (debits, credits) in _sums(event.data["entries"]).items():
            if account := self._accounts.get(f"{event.ledger}/accounts/{address}"):
                after[address] = [account.posted_debits - debits, account.posted_credits - credits]
        for number, entry in enumerate(event.data["entries"], start=1):
            account = self._accounts.get(f"{event.ledger}/accounts/{entry['account']}")
            if account is None:
                continue  # the account's own event reports this
            sums = after[entry["account"]]
            sums[entry["direction"] == "credit"] += entry["amount"]
            balance = sums[1] - sums[0] if account.side == "credit" else sums[0] - sums[1]
            wanted = (account.asset, account.side, balance, sums[0])
            debits = entry.get("debits_after")
            found = (
                entry["asset"],
                entry["normal_side"],
                entry["balance_after"],
                sums[0] if debits is None else debits,
            )
            if found != wanted:
                yield violation(
                    "balance_after_wrong", event, f"entry {number} says {found}, must be {wanted}"
                )

    def _unbalanced(self, event: Stored) -> dict[str, int]:
        """Return debits − credits of the assets in which they differ."""
        differences: dict[str, int] = {}
        for entry in event.data["entries"]:
            account = self._accounts.get(f"{event.ledger}/accounts/{entry['account']}")
            asset = account.asset if account else "?"
            amount = entry["amount"] if entry["direction"] == "debit" else -entry["amount"]
            differences[asset] = differences.get(asset, 0) + amount
        return {asset: difference for asset, difference in differences.items() if difference}

    def _named(self, event: Stored) -> Stored | None:
        """Return the event that made the hold or original that this event settles, voids, reverses or lets expire."""
        if event.topic == "transaction.hold_expired":
            stream = event.stream
        elif event.topic in _CHANGES:
            stream = f"{event.ledger}/transactions/{event.data[_CHANGES[event.topic][1]]}"
        else:
            return None
        history = self._history(stream)
        return next((made for made in history if made.topic in MADE and made.position < event.position), None)

    def _before(self, event: Stored) -> list[Stored]:
        return [earlier for earlier in self._history(event.stream) if earlier.position < event.position]


def _over_reversed(event: Stored, made: Stored | None, before: Sequence[Stored]) -> Iterator[Violation]:
    if made is None or made.topic not in ("transaction.posted", "transaction.settlement_posted"):
        yield violation(
            "reversal_exceeds_original", event, "reversed a transaction that is no posting or settlement"
        )
        return
    done = sum(earlier.data["amount"] for earlier in before if earlier.topic == "transaction.reversed")
    whole = sum(entry["amount"] for entry in made.data["entries"] if entry["direction"] == "debit")
    if done + event.data["amount"] > whole:
        yield violation(
            "reversal_exceeds_original", event, f"{done + event.data['amount']} of {whole} reversed"
        )


def _unlike(event: Stored, command: Command, named: Stored | None) -> Iterator[Violation]:
    """Check that the named transaction has recorded what was done to it, and by which transaction."""
    topic, _, by = _CHANGES[event.topic]
    change = command.change
    if change is None or named is None:
        yield violation("entries_unmatched", event, f"no {topic} belongs to {event.topic}")
    elif (change.topic, change.stream, change.data[by]) != (topic, named.stream, event.name):
        yield violation("entries_unmatched", event, f"{change.topic} of {change.stream} names another")
    elif topic == "transaction.reversed" and change.data["amount"] != sum(
        entry["amount"] for entry in event.data["entries"] if entry["direction"] == "debit"
    ):
        yield violation(
            "entries_unmatched", event, f"{change.stream} recorded {change.data['amount']} reversed"
        )


def _told(move: Stored) -> Mapping[str, Any]:
    return {"topic": move.topic, **move.data}


def _sums(entries: Sequence[Mapping[str, Any]]) -> Sums:
    sums: Sums = {}
    for entry in entries:
        debits, credits = sums.get(entry["account"], (0, 0))
        if entry["direction"] == "debit":
            sums[entry["account"]] = debits + entry["amount"], credits
        else:
            sums[entry["account"]] = debits, credits + entry["amount"]
    return sums


def _is_part(part: Sums, whole: Sums) -> bool:
    return all(
        debits <= whole.get(address, (0, 0))[0] and credits <= whole.get(address, (0, 0))[1]
        for address, (debits, credits) in part.items()
    )


def _compact(event: Stored) -> list[tuple[str, str, int]]:
    return [(entry["account"], entry["direction"], entry["amount"]) for entry in event.data["entries"]]


def _is_mirror(event: Stored, original: Stored) -> bool:
    """Tell whether a reversal mirrors all of its original, or an amount of one that has two entries."""
    sides = {"debit": "credit", "credit": "debit"}
    mirror = [(account, sides[direction], amount) for account, direction, amount in _compact(original)]
    entries = _compact(event)
    if len(mirror) == 2:
        amount = entries[0][2]
        mirror = [(account, direction, min(amount, whole)) for account, direction, whole in mirror]
    return entries == mirror
