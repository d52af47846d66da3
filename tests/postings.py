"""Generated posting events at chosen times, and their plain sums."""

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection

from domain.model.entries import PostedEntry
from domain.model.events import Envelope, Recorded
from domain.model.money import Direction
from domain.model.times import Instant, instant, moment
from domain.model.transactions import Posted, ReversalPosted, SettlementPosted, TransactionPosted
from projections.read_models.entries import PROJECTION, Clock

ASSETS = {"a": "USD/2", "b": "USD/2", "plain": "USD/2", "dated": "USD/2", "x": "JPY/0", "y": "JPY/0"}
NORMAL_SIDES: Mapping[str, Direction] = {"a": "debit", "x": "debit"}

_NATURES: tuple[tuple[type[Posted], dict[str, str]], ...] = (
    (TransactionPosted, {}),
    (SettlementPosted, {"settles": "hold"}),
    (ReversalPosted, {"reverses": "posting"}),
)


class Line(NamedTuple):
    """A posted entry, as the tests add it up."""

    account: str
    asset: str
    direction: Direction
    amount: int
    recorded_at: Instant
    effective_at: Instant
    position: int
    entry: int

    def place(self, clock: Clock) -> tuple[Instant, int, int]:
        """The entry's place in the order of a clock."""
        return (getattr(self, f"{clock}_at"), self.position, self.entry)

    @property
    def change(self) -> int:
        """The amount from the view of its account's normal side."""
        return self.amount if self.direction == NORMAL_SIDES.get(self.account, "credit") else -self.amount


def transferred(
    position: int,
    recorded_at: Instant,
    effective_at: Instant,
    sides: Sequence[tuple[str, Direction, int]],
    after: dict[str, tuple[int, int]],
    *,
    older: bool = False,
    ledger: str = "main",
) -> Recorded:
    """An event that posts. `after` holds the totals posted to each account and is updated; an older release kept no
    debits.
    """
    entries = []
    for account, direction, amount in sides:
        normal_side = NORMAL_SIDES.get(account, "credit")
        balance, debits = after.get(account, (0, 0))
        balance += amount if direction == normal_side else -amount
        debits += amount if direction == "debit" else 0
        after[account] = (balance, debits)
        entries.append(
            PostedEntry(
                account=account,
                direction=direction,
                amount=amount,
                asset=ASSETS.get(account, "USD/2"),
                normal_side=normal_side,
                balance_after=balance,
                debits_after=None if older else debits,
            )
        )
    made, related = _NATURES[position % 3]
    given: dict[str, Any] = {"reference": "", "description": "", "metadata": {}, "fingerprint": "f"}
    given |= {"entries": tuple(entries), "effective_at": effective_at}
    given |= related
    event: Posted = made(**given)
    envelope = Envelope(
        recorded_at=recorded_at,
        actor="tester",
        correlation_id="c",
        causation_id="c",
        idempotency_key=None,
        traceparent=None,
    )
    return Recorded(f"{ledger}/transactions/{UUID(int=position)}", 1, position, envelope, event)


def generated(chance: random.Random, count: int, *, older: int = 0) -> list[Recorded]:
    """Events of some days, many at equal times and at the ends of minutes, hours and days.

    `older` events come from a release that kept no debits. `plain` has no dated entry, `dated` only dated ones.
    """
    events: list[Recorded] = []
    after: dict[str, tuple[int, int]] = {}
    time = moment("2026-03-27T22:58:59.999999Z")
    for number in range(count):
        time += chance.choice(
            (timedelta(), timedelta(microseconds=1), _to_the_end(time, chance), _some(chance))
        )
        recorded_at = instant(time)
        debited, credited = chance.choice(
            (("a", "b"), ("b", "a"), ("a", "plain"), ("dated", "b"), ("x", "y"))
        )
        plain = debited != "dated" and (credited == "plain" or chance.random() < 0.5)
        effective_at = recorded_at if plain else _elsewhen(time, chance)
        if credited != "plain" and not plain and effective_at == recorded_at:
            effective_at = "2026-01-01T00:00:00.000000Z"
        sides: list[tuple[str, Direction, int]] = [
            (debited, "debit", amount := chance.randint(2, 1000)),
            (credited, "credit", amount - 1),
            (credited, "credit", 1),
        ]
        position = 7 * number + 3
        events.append(transferred(position, recorded_at, effective_at, sides, after, older=number < older))
    return events


def _some(chance: random.Random) -> timedelta:
    return timedelta(seconds=chance.randint(0, 9_000), microseconds=chance.choice((0, 0, 1, 999_999)))


def _to_the_end(time: Any, chance: random.Random) -> timedelta:
    """The time until a minute, hour or day ends."""
    span = chance.choice((timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)))
    begun: timedelta = (time - moment("2000-01-01T00:00:00.000000Z")) % span
    return span - begun


def _elsewhen(time: Any, chance: random.Random) -> Instant:
    day = time.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=chance.randint(-4, 3))
    shift = chance.choice(
        (
            timedelta(),
            timedelta(),
            timedelta(microseconds=chance.choice((-1, 1))),
            timedelta(minutes=chance.randint(0, 1440)),
            _some(chance),
        )
    )
    return instant(day + shift)


def lines(events: Sequence[Recorded]) -> Iterator[Line]:
    """The entries of events, one by one."""
    for recorded in events:
        event = recorded.event
        assert isinstance(event, Posted)
        for number, entry in enumerate(event.entries, start=1):
            yield Line(
                entry.account,
                entry.asset,
                entry.direction,
                entry.amount,
                recorded.envelope.recorded_at,
                event.effective_at,
                recorded.position,
                number,
            )


def project_in_batches(
    connection: Connection[Any], events: Sequence[Recorded], sizes: Iterator[int], version: int = 1
) -> None:
    """Write events into the tables of a version of `entries`, one batch of each given size at a time."""
    queries, first = PROJECTION.queries(version), 0
    while first < len(events):
        size = next(sizes)
        with connection.transaction():
            PROJECTION.project(connection, queries, events[first : first + size])
        first += size
