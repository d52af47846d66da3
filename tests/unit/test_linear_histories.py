"""The checker of histories finds each kind of broken promise, and nothing in a history that keeps them."""

import random
from collections.abc import Callable

import pytest

from tests.cluster.history import History, Read, Transfer, Written, violations

ACCOUNTS = ("a", "b", "c")


def kept(seed: int = 1, count: int = 60) -> History:
    """A history in which everything is right: requests overlap, and each takes effect at one moment within it."""
    chance = random.Random(seed)
    written, read, journal = list[Written](), list[Read](), list[Transfer]()
    versions = dict.fromkeys(ACCOUNTS, 1)
    sums = {account: [0, 0] for account in ACCOUNTS}
    head = len(ACCOUNTS)
    for moment in range(count):
        began_at, ended_at = moment - chance.uniform(0, 5), moment + chance.uniform(0, 5)
        if chance.random() < 0.5:
            account = chance.choice(ACCOUNTS)
            read.append(Read(account, began_at, ended_at, head, versions[account], *sums[account]))
            continue
        debited, credited = chance.sample(ACCOUNTS, 2)
        amount, key = chance.randint(1, 9), f"k{moment}"
        journal.append(Transfer(head + 1, key, debited, credited, amount, head + 2, head + 3))
        is_acknowledged = chance.random() < 0.8
        answered = (ended_at, head + 1, head + 3) if is_acknowledged else (None, None, 0)
        written.append(Written(key, debited, credited, amount, began_at, *answered))
        head += 3
        for side, account in enumerate((debited, credited)):
            versions[account] += 1
            sums[account][side] += amount
    return History(written, read, journal, head)


def codes(history: History) -> set[str]:
    return {violation.code for violation in violations(history)}


@pytest.mark.parametrize("seed", range(30))
def test_a_history_that_keeps_its_word_is_not_blamed(seed: int) -> None:
    assert list(violations(kept(seed))) == []
    assert list(violations(History([], [], [], 0))) == []


def last_acknowledged(history: History) -> Written:
    return [sent for sent in history.written if sent.position is not None][-1]


def lost(history: History) -> History:
    key = last_acknowledged(history).key
    return history._replace(journal=[each for each in history.journal if each.key != key])


def doubled(history: History) -> History:
    again = history.journal[-1]._replace(position=900, debited_at=901, credited_at=902)
    return history._replace(journal=[*history.journal, again], end=902)


def altered(history: History) -> History:
    first, *rest = history.journal
    return history._replace(journal=[first._replace(amount=first.amount + 1), *rest])


def moved(history: History) -> History:
    sent = last_acknowledged(history)
    assert sent.position is not None
    changed = sent._replace(position=sent.position - 3)
    return history._replace(written=[changed if each is sent else each for each in history.written])


def unasked(history: History) -> History:
    key = history.written[3].key
    return history._replace(written=[each for each in history.written if each.key != key])


def outdated_read(history: History) -> History:
    """A primary that was cut off answers, rightly as of then, after its successor acknowledged more."""
    old = history.read[0]
    return history._replace(read=[*history.read, old._replace(began_at=1000.0, ended_at=1001.0)])


def outdated_write(history: History) -> History:
    sent = last_acknowledged(history)
    late = sent._replace(began_at=1000.0, ended_at=1001.0, head=4)
    return history._replace(written=[late if each is sent else each for each in history.written])


def recorded_in_the_past(history: History) -> History:
    """It was sent after a later position had been answered."""
    first = next(each for each in history.written if each.position is None)
    late = first._replace(began_at=1000.0)
    return history._replace(written=[late if each is first else each for each in history.written])


def unreplicated(history: History) -> History:
    """A primary that was cut off answers with an entry that is lost afterwards."""
    seen = history.read[-1]
    changed = seen._replace(version=seen.version + 1, credits=seen.credits + 5)
    return history._replace(read=[*history.read[:-1], changed])


def beyond_the_end(history: History) -> History:
    seen = history.read[-1]
    return history._replace(read=[*history.read[:-1], seen._replace(head=history.end + 3)])


@pytest.mark.parametrize(
    ("plant", "code"),
    [
        (lost, "lost"),
        (doubled, "doubled"),
        (altered, "altered"),
        (moved, "moved"),
        (unasked, "unasked"),
        (outdated_read, "went_back"),
        (outdated_write, "went_back"),
        (recorded_in_the_past, "recorded_in_the_past"),
        (unreplicated, "misread"),
        (beyond_the_end, "beyond"),
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_broken_promise_is_found(plant: Callable[[History], History], code: str, seed: int) -> None:
    assert code in codes(plant(kept(seed)))
