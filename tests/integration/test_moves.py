"""A ledger moves from one installation to another: nothing is lost or done twice, and what was known stays true."""

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from eventsourcing.persistence import StoredEvent
from msgspec.structs import replace

from domain.application import LedgerApplication, system_clock
from domain.commit.decider import Result
from domain.journal.database import Database
from domain.journal.eventsourcing.factory import JournalDatastore
from domain.journal.eventsourcing.recorder import JournalRecorder
from domain.journal.shown_positions import read_shown_positions
from domain.model.accounts import ChangeAccount
from domain.model.commands import Command, Outcome
from domain.model.errors import AccountNotFound, LedgerMoved, LedgerMoving
from domain.model.holds import ExpireHold
from domain.model.ledgers import OpenLedger
from domain.model.moves import Arrived
from domain.model.payouts.attempts import SubmitPayout
from domain.model.times import later
from domain.placement import copies, mover, moves
from domain.placement.copies import last_of_ledger
from domain.placement.digests import LedgerTree
from domain.placement.installations import Installation
from domain.placement.mover import Mover
from domain.placement.moves import CannotMove
from domain.placement.whereabouts import find
from domain.transparency.export_format import part_line, read_seal
from projections.audit import differences
from projections.registry import install
from tests.databases import Databases
from tests.integration.exporting import exported, run, seal_all, verified
from tests.ledgers import CONTEXT, folded, history, open_accounts, outcomes, running, transfer
from tests.moving import Killed, Places, broken_rules, dying, events_of, shown_positions_of, two_places
from tests.payouts import a_mark, a_request
from tests.projecting import await_head, projecting

pytestmark = pytest.mark.integration

STEPS = ("begin", "copy", "compare", "freeze", "rest", "leave", "arrive", "done")


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server is at the new place that must hear of the ledger first."""
    monkeypatch.setattr(mover, "KNOWN_SECONDS", 0.0)


@pytest.fixture
def places(databases: Databases) -> Iterator[Places]:
    with two_places(databases) as places:
        yield places


def test_a_ledger_is_written_at_the_new_place_and_refused_at_the_old(places: Places) -> None:
    open_accounts(places.at_west, "a", "b", book="other")
    open_accounts(places.at_east, "a", "b")
    first = places.at_east.perform(transfer("a", "b", 5, key="first"))
    report = places.mover().run()
    assert report.digest.events == len(events_of(places.east.database)) - 1

    with pytest.raises(LedgerMoved) as refused:
        places.at_east.perform(transfer("a", "b", 5))
    assert refused.value.details == {"installation": "west"}
    with pytest.raises(LedgerMoved):
        places.at_east.account("main", "a")
    with pytest.raises(LedgerMoved):
        places.at_east.account_at("main", "a", 1)

    again = places.at_west.perform(transfer("a", "b", 5, key="first"))
    assert again.replayed
    assert again.state._replace(position=0, made_position=0) == first.state._replace(
        position=0, made_position=0
    )
    places.at_west.perform(transfer("a", "b", 7, key="second"))
    assert places.at_west.account("main", "b")[0].balance == 12
    places.at_west.perform(transfer("a", "b", 1, book="other"))
    folded(history(places.west.database))
    assert not broken_rules(places.west.database)
    assert not broken_rules(places.east.database)


def every_command(places: Places) -> dict[str, Command]:
    """A command of each kind for the ledger main, also of those that do not read the ledger itself."""
    held = replace(transfer("a", "b", 1, key="held"), pending=True, expires_at=later(system_clock(), 3600))
    hold = places.at_east.perform(held).state
    payout = places.at_east.perform(a_request("paid", 1, "alice")).state
    assert payout.state == "accepted"
    return {
        "open": OpenLedger(CONTEXT, "main", {}),
        "change": ChangeAccount(CONTEXT, "main", "a", metadata={"changed": "yes"}),
        "post": transfer("a", "b", 1, key="new"),
        "replay": held,
        "expire": ExpireHold(CONTEXT, "main", hold.id),
        "submit": SubmitPayout(CONTEXT, payout, a_mark(), 1.0),
    }


def an_open_ledger(places: Places) -> None:
    open_accounts(places.at_east, "a", "b", "alice")
    places.at_east.perform(transfer("a", "alice", 1000))


def results(application: LedgerApplication, commands: dict[str, Command]) -> dict[str, Result]:
    found = application.execute(*commands.values()).result()
    return dict(zip(commands, found, strict=True))


@pytest.mark.parametrize(("step", "refusal"), [("leave", LedgerMoving), ("done", LedgerMoved)])
def test_every_command_is_refused_once_the_ledger_is_frozen(
    places: Places, step: str, refusal: type[Exception]
) -> None:
    an_open_ledger(places)
    commands = every_command(places)
    before = len(events_of(places.east.database))
    with pytest.raises(Killed):
        places.mover(dying(step)).run()
    with running(places.east.database) as another:
        for application in (places.at_east, another):
            found = results(application, commands)
            assert {name: type(result) for name, result in found.items()} == dict.fromkeys(commands, refusal)
    moved = [topic for _, _, topic, _ in events_of(places.east.database)[before:]]
    assert moved == ["ledger.move_started", "ledger.moved"][: len(moved)]


@pytest.mark.parametrize(
    ("step", "refusals"),
    [
        ("freeze", [None, LedgerMoving]),
        ("leave", [LedgerMoving] * 2),
        ("arrive", [LedgerMoved, LedgerMoving]),
    ],
)
def test_a_program_that_appends_through_the_library_is_refused_too(
    places: Places, step: str, refusals: list[type[Exception] | None]
) -> None:
    an_open_ledger(places)
    with pytest.raises(Killed):
        places.mover(dying(step)).run()
    for installation, refusal in zip((places.east, places.west), refusals, strict=True):
        before = events_of(installation.database)
        with pytest.raises(refusal) if refusal else nullcontext():
            appended(installation.database, "main/accounts/appended")
        assert (events_of(installation.database) == before) is bool(refusal)
        appended(installation.database, "other/accounts/appended")


def appended(database: Database, stream: str) -> None:
    """Append an event through the library."""
    datastore = JournalDatastore(database, pool_size=1, connect_timeout_seconds=5.0)
    try:
        event = StoredEvent(stream, 1, "test.appended", b"{}")
        JournalRecorder(datastore).insert_events([event])
    finally:
        datastore.close()


@pytest.mark.parametrize("step", ["compare", "freeze", "rest", "leave", "arrive"])
def test_the_new_place_takes_no_command_before_the_ledger_has_arrived(places: Places, step: str) -> None:
    an_open_ledger(places)
    commands = every_command(places)
    with pytest.raises(Killed):
        places.mover(dying(step)).run()
    copied = events_of(places.west.database)
    assert copied
    with running(places.west.database) as another:
        for application in (places.at_west, another):
            found = results(application, commands)
            assert {name: type(result) for name, result in found.items()} == dict.fromkeys(
                commands, LedgerMoving
            )
            with pytest.raises(LedgerMoving):
                application.account("main", "a")
    assert events_of(places.west.database) == copied


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("time", [1, 2])
def test_whoever_moves_it_may_die_at_each_step(
    places: Places, step: str, time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "MOST_EVENTS", 7)
    an_open_ledger(places)
    for number in range(10):
        places.at_east.perform(transfer("a", "b", number + 1))
        places.at_west.perform(OpenLedger(CONTEXT, f"beside-{number}", {}))
    try:
        places.mover(dying(step, time)).run()
    except Killed:
        places.mover().run()
    east, west = places.east.database, places.west.database
    of_east, of_west = events_of(east), events_of(west)
    assert of_west[:-1] == of_east
    assert (of_east[-1][2], of_west[-1][2]) == ("ledger.moved", "ledger.arrived")
    assert shown_positions_of(west)[: len(of_east)] == shown_positions_of(east)
    assert outcomes(places.at_west.execute(transfer("a", "b", 1)).result())
    folded(history(west))
    assert not broken_rules(west)


def test_a_move_is_cancelled_and_begun_again(places: Places) -> None:
    an_open_ledger(places)
    for step in ("compare", "leave"):
        with pytest.raises(Killed):
            places.mover(dying(step)).run()
        assert places.mover().cancel()
        assert not places.mover().cancel()
        places.at_east.perform(transfer("a", "b", 1))
        with pytest.raises(LedgerMoving):
            places.at_west.perform(transfer("a", "b", 1))
    places.mover().run()
    assert places.at_west.account("main", "b")[0].balance == 2
    with pytest.raises(CannotMove):
        places.mover().cancel()
    assert not broken_rules(places.west.database)
    assert not broken_rules(places.east.database)


def test_what_has_left_can_only_be_finished(places: Places) -> None:
    an_open_ledger(places)
    with pytest.raises(Killed):
        places.mover(dying("arrive")).run()
    with pytest.raises(CannotMove):
        places.mover().cancel()
    with pytest.raises(LedgerMoved):
        places.at_east.perform(transfer("a", "b", 1))
    places.mover().run()
    places.at_west.perform(transfer("a", "b", 1))


def test_copies_that_the_new_place_has_lost_are_copied_again(places: Places) -> None:
    """A standby was promoted at the new place that lacked the last of them, after the ledger had left."""
    an_open_ledger(places)
    with pytest.raises(Killed):
        places.mover(dying("freeze")).run()
    places.at_east.perform(transfer("a", "b", 3, key="last"))
    east, west = places.east.database, places.west.database
    with east.connect("test") as old, west.connect("test") as new:
        moves.freeze(old, "main", "west", CONTEXT)
        digest = LedgerTree(old, "main").advance(moves.head(old))
        moves.leave(old, "main", "west", digest, CONTEXT)
        moved = last_of_ledger(old, "main")
        assert moved is not None
        with pytest.raises(moves.Overtaken):
            moves.arrive(new, "main", moved, read_shown_positions(old, "main"), CONTEXT)
    with pytest.raises(LedgerMoving):
        places.at_west.perform(transfer("a", "b", 1))
    assert places.mover().run().digest == digest
    assert events_of(west)[:-1] == events_of(east)
    assert places.at_west.perform(transfer("a", "b", 3, key="last")).replayed
    assert not broken_rules(west)


def test_a_place_that_was_restored_to_before_the_move_gets_the_ledger_again(
    places: Places, databases: Databases
) -> None:
    an_open_ledger(places)
    places.at_east.perform(transfer("a", "b", 3, key="last"))
    places.mover().run()
    found = find("main", [places.east, places.west])
    assert found is not None and found.at == places.west
    with databases.installed() as database, running(database) as at_restored:
        restored = Installation("west", database)
        found = find("main", [places.east, restored])
        assert found is not None and (found.at, found.bound_for) == (places.east, "west")
        Mover("main", places.east, restored, CONTEXT).run()
        assert events_of(database)[:-1] == events_of(places.east.database)
        assert at_restored.perform(transfer("a", "b", 3, key="last")).replayed
        found = find("main", [places.east, restored])
        assert found is not None and found.at == restored
        assert not broken_rules(database)


def test_a_ledger_comes_back(places: Places) -> None:
    an_open_ledger(places)
    first = places.at_east.perform(transfer("a", "b", 1, key="first")).position
    for number in range(30):
        places.at_east.perform(OpenLedger(CONTEXT, f"beside-{number}", {}))
    places.at_east.perform(transfer("a", "b", 1))
    places.mover().run()
    places.at_west.perform(transfer("a", "b", 1, key="second"))
    places.mover(back=True).run()
    places.at_east.perform(transfer("a", "b", 1))
    places.mover().run()
    for key in ("first", "second"):
        assert places.at_west.perform(transfer("a", "b", 1, key=key)).replayed
    assert places.at_west.account("main", "b")[0].balance == 4
    east, west = places.east.database, places.west.database
    assert events_of(west)[:-1] == events_of(east)
    shown = shown_positions_of(west)
    assert shown == sorted(set(shown)) and first in shown
    assert shown_positions_of(east) == shown[:-1]
    for database in (east, west):
        folded(history(database))
        assert not broken_rules(database)


def test_positions_stay_where_they_were_and_go_on_rising(places: Places) -> None:
    for number in range(50):
        places.at_east.perform(OpenLedger(CONTEXT, f"beside-{number}", {}))
    an_open_ledger(places)
    marks = [places.at_east.perform(transfer("a", "b", 1)).position for _ in range(5)]
    times = [system_clock()]
    places.at_east.perform(transfer("a", "b", 1))
    places.mover().run()
    with places.west.database.connect("test reader") as connection:
        shown = read_shown_positions(connection, "main")
    for number, mark in enumerate(marks, 1):
        account, position, _ = places.at_west.account_at("main", "b", shown.own(mark))
        assert (account.balance, shown.shown(account.position) <= mark) == (number, True)
        assert shown.shown(position) == mark
    assert places.at_west.account_at("main", "b", times[0])[0].balance == 5
    with pytest.raises(AccountNotFound):
        places.at_west.account_at("main", "b", "2020-01-01T00:00:00.000000Z")
    after = shown.shown(places.at_west.perform(transfer("a", "b", 1)).position)
    assert after > shown_positions_of(places.east.database)[-1]
    (arrived,) = (event for event in history(places.west.database) if isinstance(event.event, Arrived))
    assert isinstance(arrived.event, Arrived)
    assert shown.shown(arrived.position) == arrived.event.position + 1


def test_a_time_is_found_beside_copies_that_are_older(places: Places) -> None:
    open_accounts(places.at_east, "a", "b")
    open_accounts(places.at_west, "a", "b", book="other")
    places.at_east.perform(transfer("a", "b", 1))
    times = []
    for number in range(5):
        places.at_west.perform(transfer("a", "b", 1, book="other"))
        times.append((system_clock(), number + 1))
    places.mover().run()
    for number in range(5, 8):
        places.at_west.perform(transfer("a", "b", 1, book="other"))
        times.append((system_clock(), number + 1))
    for time, balance in times:
        assert places.at_west.account_at("other", "b", time)[0].balance == balance


def test_read_models_show_the_ledger_once(places: Places) -> None:
    an_open_ledger(places)
    places.at_west.perform(OpenLedger(CONTEXT, "other", {}))
    with projecting(places.east.database), projecting(places.west.database):
        places.mover().run()
        places.at_west.perform(transfer("a", "b", 1))
        for database in (places.east.database, places.west.database):
            with database.connect("test reader") as connection:
                await_head(connection)
                assert differences(connection) == []


class Clients(threading.Thread):
    """Posts under new keys, at the place where the ledger is, until told to stop."""

    def __init__(self, places: Places, number: int) -> None:
        super().__init__()
        self._places = [places.at_east, places.at_west]
        self._number = number
        self.stopping = threading.Event()
        self.acknowledged: list[str] = []
        self.refused = 0

    def run(self) -> None:
        at, made = 0, 0
        while not self.stopping.is_set():
            key = f"client-{self._number}-{made}"
            (result,) = self._places[at].execute(transfer("a", "b", 1, key=key)).result()
            if isinstance(result, Outcome):
                assert not result.replayed
                self.acknowledged.append(key)
                made += 1
            elif isinstance(result, LedgerMoved):
                at = 1
            else:
                assert isinstance(result, LedgerMoving), result
                self.refused += 1
                self.stopping.wait(0.01)


def test_nothing_acknowledged_is_lost_while_both_places_serve(places: Places) -> None:
    open_accounts(places.at_east, "a", "b")
    open_accounts(places.at_west, "a", "b", book="other")
    clients = [Clients(places, number) for number in range(2)]
    for client in clients:
        client.start()
    try:
        for number in range(40):
            places.at_west.perform(transfer("a", "b", 1, book="other", key=str(number)))
        places.mover().run()
        for number in range(40, 60):
            places.at_west.perform(transfer("a", "b", 1, book="other", key=str(number)))
    finally:
        for client in clients:
            client.stopping.set()
            client.join()
    keys = [key for client in clients for key in client.acknowledged]
    assert places.at_west.account("main", "b")[0].balance == len(keys)
    assert places.at_west.account("other", "b")[0].balance == 60
    again = outcomes(places.at_west.execute(*(transfer("a", "b", 1, key=key) for key in keys)).result())
    assert all(outcome.replayed for outcome in again)
    folded(history(places.west.database))
    assert not broken_rules(places.west.database)


def test_what_cannot_be_moved_is_refused_with_words(places: Places) -> None:
    with pytest.raises(CannotMove, match="no ledger main"):
        places.mover().run()
    an_open_ledger(places)
    places.at_west.perform(OpenLedger(CONTEXT, "main", {}))
    with pytest.raises(CannotMove, match="already"):
        places.mover().run()
    assert places.mover().cancel()
    places.at_east.perform(transfer("a", "b", 1))


def test_copies_that_differ_are_not_let_go(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    an_open_ledger(places)
    stored = copies.stored_rows

    def altered(connection: Any, rows: Any) -> Any:
        return [(*row[:2], row[2].replace("opened", "begun"), *row[3:]) for row in stored(connection, rows)]

    monkeypatch.setattr(mover, "stored_rows", altered)
    with pytest.raises(mover.Differs):
        places.mover().run()
    places.at_east.perform(transfer("a", "b", 1))


def exported_and_verified(place: Installation, folder: Path) -> Path:
    """The export of an installation, projected and sealed."""
    seal_all(place.database)
    file = folder / f"{place.name}.ndjson"
    file.write_bytes(exported(place.database))
    assert verified(file) == (0, {})
    return file


MOVED_TABLES = {
    "ledger_moves": "SELECT ledger, state, installation FROM ledger_moves ORDER BY 1",
    "position_ranges": "SELECT * FROM position_ranges ORDER BY 1, 2",
    "copied_events": "SELECT position, copied_at(position) FROM"
    " (SELECT generate_series(1, (SELECT position FROM head)) AS position) AS positions",
    "head": "SELECT position, recorded_at FROM head",
}


def tables(database: Database) -> dict[str, Any]:
    """What an installation keeps beside its events of ledgers that moved."""
    with database.connect("test reader") as connection:
        return {name: connection.execute(query).fetchall() for name, query in MOVED_TABLES.items()}


def test_an_export_of_the_old_place_restores_a_ledger_that_is_gone(
    places: Places, databases: Databases, tmp_path: Path
) -> None:
    an_open_ledger(places)
    places.mover().run()
    file = exported_and_verified(places.east, tmp_path)
    with databases.empty() as empty:
        assert run("import", file, database=empty).exit_code == 0
        with running(empty) as restored, pytest.raises(LedgerMoved):
            restored.perform(transfer("a", "b", 1))


def test_an_export_of_the_new_place_restores_a_ledger_that_arrived(
    places: Places, databases: Databases, tmp_path: Path
) -> None:
    """Whatever surrounds its events in both journals, and however often it moved."""
    an_open_ledger(places)
    places.at_west.perform(OpenLedger(CONTEXT, "other", {}))
    for number in range(10):
        places.at_east.perform(OpenLedger(CONTEXT, f"beside-{number}", {}))
        places.at_east.perform(transfer("a", "b", 1, key=f"first-{number}"))
    places.mover().run()
    places.at_west.perform(transfer("a", "b", 1, key="second"))
    places.mover(back=True).run()
    places.at_east.perform(transfer("a", "b", 1, key="third"))
    places.mover().run()
    places.at_west.perform(transfer("a", "b", 1, key="fourth"))
    for place, application in ((places.west, places.at_west), (places.east, None)):
        file = exported_and_verified(place, tmp_path)
        with databases.empty() as empty:
            assert run("import", file, database=empty).exit_code == 0
            assert tables(empty) == tables(place.database)
            assert shown_positions_of(empty) == shown_positions_of(place.database)
            assert events_of(empty) == events_of(place.database)
            assert exported(empty).splitlines()[:-1] == file.read_bytes().splitlines()[:-1]
            if application is not None:
                with running(empty) as restored:
                    assert restored.perform(transfer("a", "b", 1, key="first-3")).replayed
                    assert restored.account("main", "b") == application.account("main", "b")
                    restored.perform(transfer("a", "b", 1, key="fifth"))
                install(empty)
                with projecting(empty), empty.connect("test reader") as connection:
                    await_head(connection)
                    assert differences(connection) == []
                assert not broken_rules(empty)


def test_an_export_of_a_move_under_way_restores_it(
    places: Places, databases: Databases, tmp_path: Path
) -> None:
    an_open_ledger(places)
    places.at_west.perform(OpenLedger(CONTEXT, "other", {}))
    with pytest.raises(Killed):
        places.mover(dying("rest")).run()
    file = exported_and_verified(places.west, tmp_path)
    with databases.empty() as empty:
        assert run("import", file, database=empty).exit_code == 0
        assert tables(empty) == tables(places.west.database)
        restored = places.west._replace(database=empty)
        with running(empty) as at_west:
            with pytest.raises(LedgerMoving):
                at_west.perform(transfer("a", "b", 1))
            Mover("main", places.east, restored, CONTEXT).run()
            at_west.perform(transfer("a", "b", 1))
        assert shown_positions_of(empty) == sorted(set(shown_positions_of(empty)))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (lambda _: {}, "export again with this release"),
        (lambda shown: {"main": shown["main"][1:]}, "contradicts the event"),
    ],
)
def test_an_export_of_an_older_release_that_does_not_say_where_positions_are_shown_is_refused(
    places: Places,
    databases: Databases,
    tmp_path: Path,
    changed: Any,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It verifies all the same."""
    monkeypatch.setattr(moves, "read_cause", lambda connection, ledger: None)
    an_open_ledger(places)
    places.mover().run()
    file = exported_and_verified(places.west, tmp_path)
    *lines, last = file.read_bytes().splitlines()
    seal = read_seal(last)
    shown = {ledger: [list(of) for of in ranges] for ledger, ranges in seal.shown.items()}
    forged = part_line(replace(seal, shown=changed(shown)))
    file.write_bytes(b"\n".join([*lines, forged]))
    with databases.empty() as empty:
        assert verified(file)[0] == 0
        refused = run("import", file, database=empty)
        assert refused.exit_code == 3 and words in " ".join(refused.output.split())
        assert run("import", exported_and_verified(places.west, tmp_path), database=empty).exit_code == 0


@pytest.mark.parametrize(
    "changed",
    [
        lambda _: {},
        lambda shown: {"main": shown["main"][1:]},
        lambda shown: {"main": shown["main"][:-1]},
        lambda shown: {"main": [[at, place + 1, own] for at, place, own in shown["main"]]},
        lambda shown: {"main": [[at, place, own + 1] for at, place, own in shown["main"]]},
        lambda shown: {"main": [*shown["main"], [shown["main"][-1][0] + 1, 1_000, 1_000]]},
        lambda shown: {**shown, "other": [[1, 2, 1]]},
    ],
)
def test_whoever_changes_where_an_export_shows_positions_is_found_out(
    places: Places, databases: Databases, tmp_path: Path, changed: Any
) -> None:
    """Also of a ledger that had arrived before, whose arrivals are among the copies."""
    an_open_ledger(places)
    for back in (False, True, False):
        places.mover(back=back).run()
        application = places.at_east if back else places.at_west
        application.perform(transfer("a", "b", 1))
    file = exported_and_verified(places.west, tmp_path)
    *lines, last = file.read_bytes().splitlines()
    seal = read_seal(last)
    shown = {ledger: [list(of) for of in ranges] for ledger, ranges in seal.shown.items()}
    forged = part_line(replace(seal, shown=changed(shown)))
    file.write_bytes(b"\n".join([*lines, forged]))
    with databases.empty() as empty:
        code, found = verified(file)
        assert (code, list(found)) == (3, ["positions_altered"])
        assert run("import", file, database=empty).exit_code == 3


def test_whoever_changes_where_a_database_shows_positions_is_found_out(places: Places) -> None:
    an_open_ledger(places)
    places.mover().run()
    with places.west.database.connect_as_owner("test") as owner:
        changed = "UPDATE position_ranges SET shown = 0 WHERE position = (SELECT min(position) FROM position_ranges)"
        owner.execute(changed)
    assert "positions_altered" in run("verify", "--live", "--json", database=places.west.database).stdout
