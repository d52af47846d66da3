"""A ledger moves and comes back: NATS and receivers of webhooks are told of each event once, and go on being told."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.js import JetStreamContext
from nats.js.api import StreamConfig, StreamSource
from psycopg import Connection

from domain.model.errors import LedgerMoved, LedgerMoving
from domain.placement import mover
from domain.placement.mover import Mover
from projections.outbox import following
from projections.outbox.following import await_told, follow
from projections.outbox.webhooks import delete_webhook, disable_webhook, list_webhooks, rotate_secret
from projections.running.positions import progress
from tests.databases import Databases
from tests.integration import streams
from tests.integration.streams import Told, on_broker, told
from tests.ledgers import CONTEXT, open_accounts, transfer
from tests.moving import Killed, Places, events_of, shown_positions_of, two_places
from tests.nats_server import NatsServer, serving_nats
from tests.outboxes import await_acknowledged, publishing, register
from tests.projecting import await_head, eventually, projecting
from tests.receiver import Received, Reply, receiving, well

pytestmark = pytest.mark.integration

OF_WEST = ("TALLYSTICK-west", "tallystick-west")
"""The stream of the installation west, and the first part of its subjects."""


@pytest.fixture
def places(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[Places]:
    """The ledger main is at east, behind many events of another one, so that its positions are ahead of west's."""
    monkeypatch.setattr(mover, "KNOWN_SECONDS", 0.0)
    with two_places(databases) as places, projecting(places.east.database), projecting(places.west.database):
        open_accounts(places.at_east, "a", "b", book="beside")
        post(places, 4, book="beside")
        open_accounts(places.at_east, "a", "b")
        post(places, 10)
        yield places


def post(places: Places, count: int = 1, book: str = "main") -> None:
    """Post in a ledger, wherever it is."""
    for _ in range(count):
        posting = transfer("a", "b", 1, book=book)
        while True:
            try:
                places.at_east.perform(posting)
                break
            except (LedgerMoved, LedgerMoving):
                pass
            try:
                places.at_west.perform(posting)
                break
            except (LedgerMoved, LedgerMoving):
                pass


def moved(places: Places, *, back: bool = False, dies: bool = False) -> None:
    """Move the ledger main, and the webhooks that are told of it. With `dies` the mover dies right after them."""
    old, new = (places.west, places.east) if back else (places.east, places.west)

    def followed(at_old: Connection[Any], at_new: Connection[Any]) -> None:
        follow(at_old, at_new, "main")
        await_told(at_old, "main")
        if dies:
            raise Killed

    Mover("main", old, new, CONTEXT, followed=followed).run()


@contextmanager
def streaming(places: Places, broker: NatsServer) -> Iterator[None]:
    """Publishers of both places, each to its own stream."""
    with (
        streams.publishing(places.east.database, broker),
        streams.publishing(places.west.database, broker, *OF_WEST),
    ):
        yield


def await_published(places: Places) -> None:
    for place in (places.east, places.west):
        with place.database.connect("test") as connection:
            eventually(lambda: progress(connection, "nats").lag_events == 0)


def of_main(messages: Sequence[Told]) -> list[Told]:
    return [message for message in messages if message.body["data"]["ledger"] == "main"]


def versions(messages: Sequence[Told]) -> list[tuple[str, int]]:
    return [(of.body["data"]["stream"], of.body["data"]["version"]) for of in messages]


def test_nats_is_told_of_each_event_once_wherever_its_ledger_is(places: Places, tmp_path: Path) -> None:
    with serving_nats(tmp_path) as broker:
        stop = threading.Event()

        def keep_posting() -> None:
            while not stop.is_set():
                post(places, 5)

        posting = threading.Thread(target=keep_posting)
        posting.start()
        try:
            with streaming(places, broker):
                moved(places)
                post(places, 5)
            with streaming(places, broker):
                moved(places, back=True)
                post(places, 5)
        finally:
            stop.set()
            posting.join()
        # Each publisher goes on from a message whose event is shown elsewhere than where it is in the journal.
        with streaming(places, broker):
            moved(places)
            post(places, 3)
            await_published(places)
        with streaming(places, broker):
            post(places, 3)
            await_published(places)
        at_east, at_west = told(broker), told(broker, name=OF_WEST[0])

        every = [*of_main(at_east), *of_main(at_west)]
        by_position = sorted(every, key=lambda message: message.body["sequence"])
        stored = events_of(places.west.database)
        assert versions(by_position) == [(stream, version) for stream, version, *_ in stored]
        positions = [message.body["data"]["position"] for message in by_position]
        assert positions == shown_positions_of(places.west.database)
        assert [message.position for message in by_position] == positions
        assert [message.body["id"] for message in by_position] == [f"main/{at}" for at in positions]
        assert len({message.headers["Nats-Msg-Id"] for message in every}) == len(every)
        for messages, subject in ((at_east, "tallystick"), (at_west, OF_WEST[1])):
            found = [message.body["sequence"] for message in of_main(messages)]
            assert found == sorted(found)
            assert all(of.subject == f"{subject}.main.{of.body['type']}" for of in of_main(messages))
        assert at_west[-1].body["type"] == stored[-1][2]

        # A stream that is made of both has all of them.
        sources = [StreamSource(name=name) for name in ("TALLYSTICK", OF_WEST[0])]

        async def gather(stream: JetStreamContext) -> None:
            await stream.add_stream(StreamConfig(name="ALL", sources=sources))

        on_broker(broker, gather)
        wanted = len(at_east) + len(at_west)
        eventually(lambda: len(told(broker, name="ALL")) == wanted)
        assert sorted(versions(of_main(told(broker, name="ALL")))) == sorted(versions(every))


def topics_of(received: Sequence[Received]) -> list[str]:
    return [message.event().get_type() for message in received]


def told_of_main(received: Sequence[Received]) -> list[tuple[str, int]]:
    """The stream and version of each event of main that came, by position, without those that came again."""
    found = {message.id: message for message in received if message.id.startswith("main/")}
    data = [found[id].event().get_data() for id in sorted(found, key=lambda id: found[id].position)]
    return [(of["stream"], of["version"]) for of in data]


def recorded_of_main(places: Places, *, at_west: bool = True) -> list[tuple[str, int]]:
    place = places.west if at_west else places.east
    return [(stream, version) for stream, version, *_ in events_of(place.database)]


@contextmanager
def delivering(places: Places) -> Iterator[tuple[Connection[Any], Connection[Any]]]:
    """Publishers of both places, and a connection to each."""
    with ExitStack() as stack:
        for place in (places.east, places.west):
            stack.enter_context(publishing(place.database))
        east, west = (
            stack.enter_context(place.database.connect("test")) for place in (places.east, places.west)
        )
        yield east, west


def webhooks_at(connection: Connection[Any]) -> list[Any]:
    return list(list_webhooks(connection, None, 100, descending=False))


def settled(connection: Connection[Any]) -> None:
    """Wait until every event is owed and every delivery is acknowledged."""
    await_head(connection)
    for webhook in webhooks_at(connection):
        if webhook.state == "enabled":
            await_acknowledged(connection, webhook.id)


def test_a_receiver_goes_on_being_told_wherever_the_ledger_is(places: Places) -> None:
    """By the same secret, under ids that no two events share, and of nothing twice."""
    with receiving() as receiver, delivering(places) as (east, west):
        hook = register(east, receiver.url)
        before = len(recorded_of_main(places, at_west=False))
        for back in (False, True, False):
            post(places, 3)
            moved(places, back=back)
        post(places, 3)
        settled(east)
        settled(west)

        assert told_of_main(receiver.received) == recorded_of_main(places)[before:]
        assert all(message.verified(hook.secret) for message in receiver.received)
        assert [webhook.ledgers for webhook in webhooks_at(east)] == [("*",)]
        (goes_on,) = webhooks_at(west)
        assert (goes_on.url, goes_on.ledgers, goes_on.types) == (receiver.url, ("main",), ("*",))
        assert goes_on.created_by == "tester"


def test_a_receiver_that_answers_is_told_in_order_through_moves(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a mover that waits for as long as it takes."""
    monkeypatch.setattr(following, "TOLD_SECONDS", 60.0)
    stop = threading.Event()

    def keep_posting() -> None:
        while not stop.is_set():
            post(places)

    posting = threading.Thread(target=keep_posting)
    with receiving() as receiver, delivering(places) as (east, west):
        register(east, receiver.url, ["main"])
        posting.start()
        try:
            for back in (False, True):
                moved(places, back=back)
        finally:
            stop.set()
            posting.join()
        settled(east)
        settled(west)
        seen: dict[str, list[int]] = {}
        for message in receiver.received:
            data = message.event().get_data()
            if data["version"] not in (versions := seen.setdefault(data["stream"], [])):
                versions.append(data["version"])
        assert len(seen["main/accounts/a"]) > 2
        assert all(versions == sorted(versions) for versions in seen.values())


def test_what_waits_at_the_old_place_is_still_delivered_there(places: Places) -> None:
    with receiving() as receiver, delivering(places) as (east, west):
        hook = register(east, receiver.url, ["main"])
        before = len(recorded_of_main(places, at_west=False))
        receiver.behave = lambda received, count: Reply(503)
        post(places, 3)
        eventually(lambda: len(receiver.received) > 0)
        moved(places)
        receiver.behave = well
        post(places, 3)
        settled(east)
        settled(west)
        assert told_of_main(receiver.received) == recorded_of_main(places)[before:]
        assert all(message.verified(hook.secret) for message in receiver.received)


def test_webhooks_follow_as_they_are_and_once(places: Places) -> None:
    with (
        places.east.database.connect("test") as east,
        places.west.database.connect("test") as west,
    ):
        register(east, "https://other.example/hook", ["beside"])
        gone = register(east, "https://gone.example/hook", ["main"])
        delete_webhook(east, gone.id, "tester")
        off = register(east, "https://off.example/hook", ["beside", "main"])
        disable_webhook(east, off.id, "a test")
        some = register(east, "https://some.example/hook", ["main"], ["transaction.posted"])
        there = register(west, "https://there.example/hook", ["*"])
        here = register(east, "https://there.example/hook", ["main"])
        with pytest.raises(Killed):
            moved(places, dies=True)
        moved(places)

        found = {webhook.url: webhook for webhook in webhooks_at(west)}
        assert len(webhooks_at(west)) == len(found) == 3
        assert found["https://there.example/hook"].id == there.id
        followed = found["https://off.example/hook"]
        assert (followed.state, followed.disabled_reason) == ("disabled", "a test")
        assert followed.ledgers == ("main",)
        assert found["https://some.example/hook"].types == ("transaction.posted",)
        assert secrets_of(west, there.id) == {there.secret, here.secret}

        # What is changed at one place holds at the other when the ledger is there again.
        at_west = found["https://some.example/hook"]
        rotated = rotate_secret(west, at_west.id, 0)
        moved(places, back=True)
        assert secrets_of(east, some.id) == {some.secret, rotated}
        assert len(webhooks_at(east)) == 4
        delete_webhook(west, at_west.id, "tester")
        moved(places)
        assert len(webhooks_at(west)) == 3


def test_a_webhook_that_was_disabled_meanwhile_goes_on_as_it_is_and_has_no_second_one(places: Places) -> None:
    with (
        places.east.database.connect("test") as east,
        places.west.database.connect("test") as west,
    ):
        first = register(east, "https://shop.example/hook", ["main"])
        adopted = register(east, "https://there.example/hook", ["main"])
        there = register(west, "https://there.example/hook", ["*"])
        moved(places)
        (at_west,) = [of for of in webhooks_at(west) if of.url == "https://shop.example/hook"]
        rotate_secret(west, at_west.id, 0)  # so that they share none
        for hook in (first, adopted):
            disable_webhook(east, hook.id, "not wanted any more")
        for back in (True, False, True):
            moved(places, back=back)
            found = {of.url: of for of in webhooks_at(east)}
            assert len(webhooks_at(east)) == len(found) == 2
            assert {of.id: of.state for of in found.values()} == dict.fromkeys(
                (first.id, adopted.id), "disabled"
            )
            assert {of.id: of.state for of in webhooks_at(west)} == dict.fromkeys(
                (there.id, at_west.id), "enabled"
            )

        # Another one with the same URL that somebody disabled long ago is no successor.
        disable_webhook(west, there.id, "a test")
        url = "https://new.example/hook"
        register(east, url, ["main"])
        unrelated = register(west, url, ["main"])
        disable_webhook(west, unrelated.id, "of another time")
        moved(places)
        by_id = {of.id: of for of in webhooks_at(west)}
        assert by_id[unrelated.id].state == by_id[there.id].state == "disabled"
        (made,) = [of for of in by_id.values() if of.url == url and of.id != unrelated.id]
        assert made.state == "enabled"


def secrets_of(connection: Connection[Any], id: Any) -> set[str]:
    query = "SELECT secret FROM webhook_secrets WHERE webhook_id = %s"
    return {secret for (secret,) in connection.execute(query, (id,)).fetchall()}
