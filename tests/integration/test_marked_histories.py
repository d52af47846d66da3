"""Histories of random commands: every list is what a scan of the whole journal finds, wherever the index ends."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from psycopg import Connection, Cursor

from domain.journal.database import Database
from projections.engine.batches import Claim, advance, read_batch, take_over
from projections.read_models.event_history import JournalEvent, events_after, list_events
from projections.read_models.event_index import PROJECTION
from projections.read_models.event_keys import EventFilters
from tests.databases import Databases

pytestmark = pytest.mark.integration

ADDRESSES = [f"users:{number}" for number in range(5)]
IDS = [str(UUID(int=number)) for number in range(8)]
ACTORS = ["shop", "zoë"]
TALKS = ["talk", "walk", *IDS[:2]]
TOPICS = ["account.entries_posted", "transaction.posted", "account.frozen"]
LEDGERS = ["main", "other"]


class Written(NamedTuple):
    """An event and what it may be found by: keys by the names of filters."""

    position: int
    ledger: str
    recorded_at: str
    keys: frozenset[tuple[str, str]]

    def passes(self, ledger: str, filters: EventFilters) -> bool:
        """Whether a list with these filters shows the event."""
        wanted = {
            (name, value) for name, value in filters._asdict().items() if value and "recorded" not in name
        }
        return (
            self.ledger == ledger
            and wanted <= self.keys
            and (not filters.recorded_from or self.recorded_at >= filters.recorded_from)
            and (not filters.recorded_to or self.recorded_at < filters.recorded_to)
        )


class Journal:
    """A journal that tests append to, what a scan of it finds, and the index behind it."""

    def __init__(self, database: Database, owner: Connection[Any]) -> None:
        self.database = database
        self.written: list[Written] = []
        self._owner = owner
        self._version = 0

    @property
    def head(self) -> int:
        """The newest position."""
        return len(self.written)

    def recorded_at(self, position: int) -> str:
        """When an event was recorded: a few at the same instant."""
        return f"2026-01-01T00:00:00.{position // 5:06}Z"

    def append(self, commands: Sequence["Command"]) -> None:
        """Append the events of commands."""
        rows = []
        for command in commands:
            for event in command.events:
                self._version += 1
                position = self.head + 1
                at = self.recorded_at(position)
                rows.append(
                    (
                        f"{command.ledger}/{event.stream}",
                        self._version,
                        event.topic,
                        command.state(event, at),
                        position,
                    )
                )
                self.written.append(Written(position, command.ledger, at, command.keys(event)))
        copy = "COPY events (originator_id, originator_version, topic, state, notification_id) FROM STDIN"
        with self._owner.transaction():
            with self._owner.cursor().copy(copy) as copying:
                for row in rows:
                    copying.write_row(row)
            self._owner.execute("UPDATE head SET position = %s", (self.head,))

    def index(self, upto: int, size: int) -> None:
        """Advance the index to a position, unless it is further, in batches of this size."""
        with self.database.connect("test") as connection:
            query = "SELECT version, position FROM projection_versions WHERE name = 'event_index' AND live"
            version, position = connection.execute(query).fetchone() or (0, 0)
            claim = Claim(PROJECTION, version, UUID(int=1), "running")
            take_over(connection, claim)
            while position < upto:
                batch = read_batch(connection, PROJECTION, position, min(upto, position + size))
                assert advance(connection, claim, batch, 0.0, None)
                position = batch.upto


class Happening(NamedTuple):
    """An event of a command: its stream within the ledger, its type, and its payload."""

    stream: str
    topic: str
    data: dict[str, Any]


class Command(NamedTuple):
    """The events of one command, and what they share."""

    ledger: str
    actor: str
    correlation_id: str
    cause: str
    events: Sequence[Happening]

    def state(self, event: Happening, at: str) -> bytes:
        """An event as this project would store it."""
        said = {"recorded_at": at, "actor": self.actor, "correlation_id": self.correlation_id}
        stored = {"class_version": 1, **said, "causation_id": self.cause, "data": event.data}
        return json.dumps(stored, separators=(",", ":"), ensure_ascii=False).encode()

    def keys(self, event: Happening) -> frozenset[tuple[str, str]]:
        """What an event may be found by."""
        kind, _, name = event.stream.partition("/")
        accounts = [name] * (kind == "accounts") + [
            entry["account"] for entry in event.data.get("entries", ())
        ]
        ids = [name] * (kind == "transactions") + [self.cause] * (self.cause in IDS)
        ids += [value for member in ("transaction_id", "hold_id") if (value := event.data.get(member))]
        return frozenset(
            {("actor", self.actor), ("correlation_id", self.correlation_id), ("type", event.topic)}
            | {("account", address) for address in accounts}
            | {("transaction_id", id) for id in ids}
        )


@st.composite
def commands(draw: st.DrawFn) -> Command:
    """A transfer among some accounts, perhaps of very many, or a change of an account."""
    ledger, actor, talk = (
        draw(st.sampled_from(LEDGERS)),
        draw(st.sampled_from(ACTORS)),
        draw(st.sampled_from(TALKS)),
    )
    if draw(st.integers(0, 4)) == 0:
        change = Happening(
            f"accounts/{draw(st.sampled_from(ADDRESSES))}", "account.frozen", {"reason": IDS[0]}
        )
        return Command(ledger, actor, talk, talk, [change])
    id = draw(st.sampled_from(IDS))
    some = draw(st.lists(st.sampled_from(ADDRESSES), min_size=2, max_size=4))
    several = draw(st.sampled_from([0, 0, 0, 0, 0, 40]))
    accounts = [*some, *(f"many:{number}" for number in range(several))]
    posting = {"transaction_id": id, "debits": 5, "credits": 0}
    transaction = {
        "reference": draw(st.sampled_from(["", "order-1-2-3-4", IDS[1], "a\\b", '"account":"users:0"'])),
        **draw(st.sampled_from([{}, {"hold_id": IDS[2]}])),
        "entries": [{"account": address, "balance_after": -5} for address in accounts],
    }
    events = [
        Happening(f"accounts/{address}", "account.entries_posted", posting)
        for address in dict.fromkeys(accounts)
    ]
    return Command(
        ledger, actor, talk, id, [*events, Happening(f"transactions/{id}", "transaction.posted", transaction)]
    )


def perhaps(*values: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from([None, *values])


@pytest.fixture(scope="module")
def journal(databases: Databases) -> Iterator[Journal]:
    """A journal that grows from example to example, so that it comes to the ends of strips, blocks and a stretch."""
    with databases.installed() as database, database.connect_as_owner("test") as owner:
        grown = Journal(database, owner)
        filler = [Happening(f"accounts/{ADDRESSES[n % 5]}", TOPICS[n % 3], {}) for n in range(1_000)]
        for part in range(65):
            grown.append([Command("main", "clerk", f"filler-{part}", "none", filler)])
        grown.index(grown.head, 5_000)
        yield grown


class Question(NamedTuple):
    """What a list is asked for. Places and times are relative to where an example begins; None is no bound."""

    ledger: str
    filters: EventFilters
    recorded_from: int | None
    recorded_to: int | None
    low: int | None
    high: int | None
    limit: int
    descending: bool


PLACES = st.none() | st.integers(-400, 100)
QUESTIONS = st.builds(
    Question,
    st.sampled_from(LEDGERS),
    st.builds(
        EventFilters,
        account=perhaps(*ADDRESSES[:2], "many:7"),
        transaction_id=perhaps(*IDS[:3]),
        correlation_id=perhaps(*TALKS, "filler-3"),
        actor=perhaps(*ACTORS, "clerk"),
        type=perhaps(*TOPICS),
    ),
    recorded_from=PLACES,
    recorded_to=PLACES,
    low=PLACES,
    high=PLACES,
    limit=st.integers(1, 500),
    descending=st.booleans(),
)


# The journal only grows, so a smaller example would meet another journal.
@settings(deadline=None, max_examples=40, phases=[Phase.explicit, Phase.generate])
@given(
    st.lists(commands(), min_size=1, max_size=20),
    st.integers(-20, 200),
    st.sampled_from([1, 7, 300]),
    st.lists(QUESTIONS, min_size=1, max_size=6),
)
def test_every_list_is_what_a_scan_of_the_journal_finds(
    journal: Journal, written: list[Command], indexed: int, size: int, questions: list[Question]
) -> None:
    begin = journal.head
    journal.append(written)
    journal.index(min(begin + indexed, journal.head), size)
    for question in questions:
        assert_answered(journal, begin, question)


def assert_answered(journal: Journal, begin: int, question: Question) -> None:
    def at(place: int | None) -> str | None:
        return None if place is None else journal.recorded_at(begin + place)

    filters = question.filters._replace(
        recorded_from=at(question.recorded_from), recorded_to=at(question.recorded_to)
    )
    low = 1 if question.low is None else begin + question.low
    high = None if question.high is None else begin + question.high
    passing = [
        event.position
        for event in journal.written[low - 1 : high and high - 1]
        if event.passes(question.ledger, filters)
    ]
    expected = (passing[::-1] if question.descending else passing)[: question.limit]
    with journal.database.connect("test") as connection:
        page = list_events(
            connection,
            question.ledger,
            filters,
            low=low,
            high=high,
            limit=question.limit,
            descending=question.descending,
        )
        found, upto = events_after(connection, begin, question.ledger, filters)
    assert positions(page.rows) == expected
    assert page.position == page.head == journal.head
    after = journal.written[begin:upto]
    assert positions(found) == [event.position for event in after if event.passes(question.ledger, filters)]


def positions(events: Sequence[JournalEvent]) -> list[int]:
    return [event.position for event in events]


class Counting(Cursor[Any]):
    """A cursor that counts the rows that it fetches."""

    fetched = 0

    def fetchall(self) -> list[Any]:
        rows = super().fetchall()
        Counting.fetched += len(rows)
        return rows


@pytest.mark.parametrize("descending", [False, True], ids=["asc", "desc"])
@pytest.mark.parametrize("size", [2, 300, 3_000])
def test_a_page_costs_no_more_if_the_command_is_large(
    database: Database, owner: Connection[Any], size: int, descending: bool
) -> None:
    """A command of many events, the last of which mentions all accounts: each account has two of them."""
    journal = Journal(database, owner)
    accounts = [f"users:{number}" for number in range(size)]
    posting = {"transaction_id": IDS[0], "debits": 5, "credits": 0}
    entries = {"entries": [{"account": address} for address in accounts]}
    events = [
        *(Happening(f"accounts/{address}", "account.entries_posted", posting) for address in accounts),
        Happening(f"transactions/{IDS[0]}", "transaction.posted", entries),
    ]
    journal.append([Command("main", "shop", "talk", IDS[0], events)] * 3)
    journal.index(journal.head, 1_000)
    with database.connect("test") as connection:
        connection.cursor_factory = Counting
        Counting.fetched = 0
        page = list_events(
            connection, "main", EventFilters(account="users:1"), limit=99, descending=descending
        )
    end = size + 1
    expected = [2, end, end + 2, 2 * end, 2 * end + 2, 3 * end]
    assert positions(page.rows) == (expected[::-1] if descending else expected)
    # The version, the head and the position; at most 47 segments of the index; the six events.
    assert Counting.fetched <= 3 + 47 + 6
