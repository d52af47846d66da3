"""What clients sent and were answered, and whether that fits one order of everything: pure.

The order is the journal's, as it is in the end. A cluster keeps its word if each answer fits into it:

- what was acknowledged is there, once, as it was asked for and at the position that was answered;
- an answer knows at least the position of every answer that was given before its request began;
- an account is read as the journal's entries up to the position of the answer make it.

So a primary that was cut off and answers what was not replicated contradicts the journal, and one that answers what is
outdated goes back behind what was answered before.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple


class Written(NamedTuple):
    """A transfer that a client sent, again and again under its key, until it was acknowledged.

    Times are of one clock, in seconds. `ended_at` and `position` are None if it was never acknowledged. `position` is
    that of the transaction; `head` that up to which the answer knew the journal.
    """

    key: str
    debited: str
    credited: str
    amount: int
    began_at: float
    ended_at: float | None = None
    position: int | None = None
    head: int = 0


class Read(NamedTuple):
    """An account as a confirmation read answered it, and the position of the answer."""

    account: str
    began_at: float
    ended_at: float
    head: int
    version: int
    debits: int
    credits: int


class Transfer(NamedTuple):
    """A transfer in the journal: the position of its transaction, then those of its two entries."""

    position: int
    key: str
    debited: str
    credited: str
    amount: int
    debited_at: int
    credited_at: int


class History(NamedTuple):
    """What happened, and the journal in the end, whose last position is `end`. Accounts were opened before, no more."""

    written: Sequence[Written]
    read: Sequence[Read]
    journal: Sequence[Transfer]
    end: int


class Violation(NamedTuple):
    """What does not fit: a word, and the details."""

    code: str
    words: str


def violations(history: History) -> Iterator[Violation]:
    """Yield everything that contradicts one order of all that happened."""
    yield from _contradicted_writes(history)
    yield from _outdated_answers(history)
    yield from _misread_accounts(history)


def _contradicted_writes(history: History) -> Iterator[Violation]:
    times = Counter(transfer.key for transfer in history.journal)
    for key, count in times.items():
        if count > 1:
            yield Violation("doubled", f"{key} is recorded {count} times")
    recorded = {transfer.key: transfer for transfer in history.journal}
    for sent in history.written:
        found = recorded.pop(sent.key, None)
        if found is None:
            if sent.position is not None:
                yield Violation("lost", f"{sent.key} was acknowledged at {sent.position}")
            continue
        if (found.debited, found.credited, found.amount) != (sent.debited, sent.credited, sent.amount):
            yield Violation("altered", f"{sent} was recorded as {found}")
        if sent.position not in (None, found.position):
            yield Violation(
                "moved", f"{sent.key} was acknowledged at {sent.position}, is at {found.position}"
            )
    for key in recorded:
        yield Violation("unasked", f"{key} was recorded and never sent")


class _Answers:
    """The highest position that was answered until any moment."""

    def __init__(self, history: History) -> None:
        ends = [(sent.ended_at, sent.head) for sent in history.written if sent.ended_at is not None]
        ends += [(read.ended_at, read.head) for read in history.read]
        ends.sort()
        self._moments = [moment for moment, _ in ends]
        self._heads = [0, *accumulate((head for _, head in ends), max)]

    def known_before(self, moment: float) -> int:
        """Return the highest position of the answers that ended before a moment."""
        return self._heads[bisect_left(self._moments, moment)]


def _outdated_answers(history: History) -> Iterator[Violation]:
    answers = _Answers(history)
    for read in history.read:
        if read.head < (known := answers.known_before(read.began_at)):
            yield Violation(
                "went_back", f"{read} knows less than {known}, which was answered before it began"
            )
    recorded = {transfer.key: transfer.position for transfer in history.journal}
    for sent in history.written:
        known = answers.known_before(sent.began_at)
        if sent.ended_at is not None and sent.head < known:
            yield Violation(
                "went_back", f"{sent} knows less than {known}, which was answered before it began"
            )
        if sent.key in recorded and recorded[sent.key] <= known:
            position = recorded[sent.key]
            yield Violation(
                "recorded_in_the_past", f"{sent.key} is at {position}, and {known} was known before"
            )


def _misread_accounts(history: History) -> Iterator[Violation]:
    accounts = _sums(history.journal)
    for read in history.read:
        if read.head > history.end:
            yield Violation("beyond", f"{read} is beyond the end of the journal, {history.end}")
            continue
        sums = accounts.get(read.account, [])
        count = bisect_left(sums, (read.head + 1,))
        debits, credits = sums[count - 1][1:] if count else (0, 0)
        wanted = (1 + count, debits, credits)
        if (read.version, read.debits, read.credits) != wanted:
            yield Violation("misread", f"{read}, and the journal has {wanted} (version, debits, credits)")


def _sums(journal: Sequence[Transfer]) -> Mapping[str, list[tuple[int, int, int]]]:
    """Return, for each account, the position of each of its entries with the sums of debits and credits up to it."""
    entries: dict[str, list[tuple[int, int, int]]] = {}
    for transfer in journal:
        entries.setdefault(transfer.debited, []).append((transfer.debited_at, transfer.amount, 0))
        entries.setdefault(transfer.credited, []).append((transfer.credited_at, 0, transfer.amount))
    return {account: list(accumulate(sorted(found), _added)) for account, found in entries.items()}


def _added(before: tuple[int, int, int], entry: tuple[int, int, int]) -> tuple[int, int, int]:
    return entry[0], before[1] + entry[1], before[2] + entry[2]
