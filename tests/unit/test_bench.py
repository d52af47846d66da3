"""The parts of the benchmark that need neither a server nor a clock: shapes of load, selection, the plot."""

from collections import Counter
from itertools import cycle, islice
from random import Random
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
import typer

from domain.model.commands import Command
from domain.model.idempotency import operation_id
from scripts.bench import command
from scripts.bench.report.comparisons import (
    COMPARISONS,
    CONCURRENCY,
    SWEPT_CONNECTIONS,
    chosen,
    names_of,
)
from scripts.bench.report.figures import Contestant, Figures, Measurement, in_digits
from scripts.bench.report.limits import LIMITS
from scripts.bench.report.plot import charts, plot
from scripts.bench.report.rounds import measure
from scripts.bench.stages.growth import bytes_needed
from scripts.bench.stages.in_process import whole_batches
from scripts.bench.workloads.shapes import (
    BANK,
    CONTENTION_EXPONENTS,
    HOT_ACCOUNTS,
    SHAPES,
    WORLD,
    contention,
)
from scripts.bench.workloads.transfers import BOOK, PATH, Transfer, transfers
from tests.unit.given_when_then import a_hold, a_posting, a_void, credit, debit

ACCOUNTS = 200


def drawn(shape: str, count: int = 2_000) -> list[tuple[int, int]]:
    random = Random(7)
    return [SHAPES[shape].pick(random, ACCOUNTS) for _ in range(count)]


@pytest.mark.parametrize("shape", SHAPES)
def test_no_account_pays_itself_and_all_are_among_those_opened(shape: str) -> None:
    first = ACCOUNTS if shape == "bounded" else 0
    for pair in drawn(shape):
        assert len(set(pair)) == 2
        assert all(first <= account < first + ACCOUNTS for account in pair)


@pytest.mark.parametrize("shape", ["uniform", "zipfian", "hot-set", *map(contention, CONTENTION_EXPONENTS)])
def test_two_accounts_are_enough_for_every_shape_of_many(shape: str) -> None:
    random = Random(7)
    assert {frozenset(SHAPES[shape].pick(random, 2)) for _ in range(50)} == {frozenset((0, 1))}


def test_hot_accounts_are_debited_in_every_transfer() -> None:
    assert {debited for debited, _ in drawn("hot")} == {0}
    assert {debited for debited, _ in drawn("hot-set")} == set(range(HOT_ACCOUNTS))
    assert all(credited >= HOT_ACCOUNTS for _, credited in drawn("hot-set"))


def test_a_few_accounts_are_in_most_transfers_of_the_zipfian_shape() -> None:
    popular = Counter(account for pair in drawn("zipfian") for account in pair).most_common(20)
    assert sum(times for _, times in popular) > 2_000
    assert sorted(account for account, _ in popular) != list(range(20))


@pytest.mark.parametrize("exponent", CONTENTION_EXPONENTS)
def test_accounts_are_chosen_by_the_law_of_zipf_among_pairs_of_two_accounts(exponent: float) -> None:
    """With a fixed seed the draws are always the same; each rank was drawn about as often as the law says."""
    draws = 20_000
    weights = [1 / rank**exponent for rank in range(1, 6)]
    whole = sum(weights)
    of_ranks = [weight / whole for weight in weights]
    different = 1 - sum(share**2 for share in of_ranks)
    wanted = [2 * share * (1 - share) / different * draws for share in of_ranks]
    random = Random(7)
    found = Counter(account for _ in range(draws) for account in SHAPES[contention(exponent)].pick(random, 5))
    assert set(found) == set(range(5))
    for times, expected in zip(sorted(found.values(), reverse=True), wanted, strict=True):
        assert abs(times - expected) < 0.03 * draws


def test_the_higher_the_exponent_the_more_transfers_share_an_account() -> None:
    def most_popular(exponent: float) -> float:
        random = Random(7)
        pairs = [SHAPES[contention(exponent)].pick(random, 100_000) for _ in range(2_000)]
        ((_, times),) = Counter(account for pair in pairs for account in pair).most_common(1)
        return times / len(pairs)

    assert [round(most_popular(exponent), 1) for exponent in CONTENTION_EXPONENTS] == [0, 0, 0.2, 0.6]


def test_the_world_and_the_bank_stand_on_their_sides() -> None:
    assert set(drawn("world-to-bank")) == {(WORLD, BANK)}
    assert {debited for debited, _ in drawn("world-to-any")} == {WORLD}
    assert {credited for _, credited in drawn("any-to-bank")} == {BANK}


def test_three_in_ten_transfers_are_held_first_and_settled_or_voided_in_turn() -> None:
    made = list(islice(transfers(ACCOUNTS, Random(7), "two-phase"), 2_000))
    endings = Counter(transfer.ending for transfer in made)
    assert 500 < endings["settle"] + endings["void"] < 700
    assert endings["settle"] - endings["void"] in (0, 1)


def test_a_transfer_in_two_phases_names_its_hold() -> None:
    hold, ending = Transfer("k-00000001", "a", "b", "settle").requests()
    assert hold.body["pending"] is True
    assert ending.path == f"{PATH}/{operation_id(BOOK, 'k-00000001')}/settle"
    assert ending.key != hold.key
    (posting,) = Transfer("k-00000001", "a", "b").requests()
    assert "pending" not in posting.body


def test_a_workload_is_chosen_by_its_name_or_with_all_of_its_stage() -> None:
    assert {comparison.workload for comparison in chosen(["hot-account"])} == {"hot-account"}
    assert chosen(["concurrency"]) == list(CONCURRENCY)
    assert {comparison.workload for comparison in chosen(["http"])} == {"http"}
    with pytest.raises(LookupError):
        chosen(["sleeping"])


def test_no_contestant_is_in_two_stages_and_every_limit_is_of_one() -> None:
    stages: dict[str, set[str]] = {}
    for comparison in COMPARISONS:
        for name in names_of([comparison]):
            stages.setdefault(name, set()).add(comparison.stage)
    assert [name for name, theirs in stages.items() if len(theirs) > 1] == []
    assert all(limit.workload in stages for limit in LIMITS)


def test_contestants_take_turns_after_a_warm_up_that_shows_how_much_fits_into_the_time() -> None:
    ran: list[tuple[str, int]] = []

    def contestant(name: str, seconds_each: float, most: int) -> Contestant:
        def run(count: int) -> Measurement:
            ran.append((name, count))
            return Measurement(count, count * seconds_each)

        return Contestant(name, "transfers/s", run, 100, most)

    both = [contestant("quick", 0.01, 1_000), contestant("bounded", 0.001, 300)]
    found = measure(both, rounds=2, seconds=0.5, tell=lambda _: None, warm_up=0.1)
    assert ran == [("quick", 10), ("bounded", 10), *2 * [("quick", 50), ("bounded", 300)]]
    assert {figures.name: [reading.units for reading in figures.readings] for figures in found} == {
        "quick": [50, 50],
        "bounded": [300, 300],
    }


def test_who_is_run_at_a_set_rate_has_no_uncounted_run() -> None:
    ran: list[int] = []

    def run(count: int) -> Measurement:
        ran.append(count)
        return Measurement(count, 1.0)

    measure([Contestant("paced", "transfers/s", run, 0, 300, rate=100.0)], 2, seconds=2, tell=lambda _: None)
    measure([Contestant("bounded", "transfers/s", run, 0, 30, rate=100.0)], 1, seconds=2, tell=lambda _: None)
    assert ran == [200, 200, 30]


def test_each_round_may_have_another_order_and_has_every_contestant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "gc.collect", lambda: 0
    )  # for the garbage of all other tests it takes half a second each time
    ran: list[str] = []

    def contestant(name: str) -> Contestant:
        def run(count: int) -> Measurement:
            ran.append(name)
            return Measurement(count, 1.0)

        return Contestant(name, "transfers/s", run, 1, 1)

    found = measure([contestant(name) for name in "abc"], 20, seconds=1, tell=lambda _: None, order=Random(7))
    rounds = ["".join(ran[first : first + 3]) for first in range(3, len(ran), 3)]
    assert {"".join(sorted(names)) for names in rounds} == {"abc"}
    assert len(set(rounds)) == 6
    assert [figures.name for figures in found] == ["a", "b", "c"]


def test_a_journal_that_the_disk_has_no_room_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    free = bytes_needed(5_000_000)
    monkeypatch.setattr(command, "disk_usage", lambda _: Disk(0, 0, free))
    command.require_room(5_000_000)
    with pytest.raises(typer.BadParameter, match=r"it takes 8 GB, and .* has 8"):
        command.require_room(5_000_001)


class Disk(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    ("value", "digits"), [(0.0123, "0.0123"), (9.876, "9.88"), (99.94, "99.9"), (12345.6, "12,346")]
)
def test_figures_are_as_long_as_people_read_them(value: float, digits: str) -> None:
    assert in_digits(value) == digits


def figures() -> dict[str, Figures]:
    """Figures of the sweep, all different."""
    found = {}
    for number, name in enumerate(sorted(names_of(CONCURRENCY))):
        details = {"p50_milliseconds": 1.5 + number, "p99_milliseconds": 130.0 + number}
        found[name] = Figures(name, "requests/s", [Measurement(1_000 + 37 * number, 1.0, details)])
    return found


def test_every_figure_is_in_the_plot_with_axes_units_machine_and_date() -> None:
    svg = ElementTree.fromstring(plot(figures(), "AMD EPYC, 2 cores, 2026-11-26"))
    texts = [element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")]
    for chart in charts(figures()):
        for line in chart.lines:
            assert list(line.values) == list(SWEPT_CONNECTIONS)
            for value in line.values.values():
                assert in_digits(value) in texts
    wanted = {"requests per second", "milliseconds (logarithmic)", "connections", "p99 uniform"}
    assert wanted | {"AMD EPYC, 2 cores, 2026-11-26"} <= set(texts)


def test_a_higher_rate_is_higher_in_the_plot_and_more_connections_are_to_the_right() -> None:
    svg = ElementTree.fromstring(plot(figures(), ""))
    for line in svg.iter("{http://www.w3.org/2000/svg}polyline"):
        places = [tuple(map(float, place.split(","))) for place in line.attrib["points"].split()]
        assert [x for x, _ in places] == sorted(x for x, _ in places)
        assert all(0 < x < 760 and 0 < y < 400 for x, y in places)
    throughput = charts(figures())[0].lines[0].values
    lowest, highest = min(throughput, key=throughput.__getitem__), max(throughput, key=throughput.__getitem__)
    points = {
        point.findtext("{http://www.w3.org/2000/svg}title", "").split(" connections")[0]: float(
            point.attrib["cy"]
        )
        for point in svg.iter("{http://www.w3.org/2000/svg}circle")
    }
    assert points[f"uniform, {highest}"] < points[f"uniform, {lowest}"]


def test_what_belongs_together_is_in_one_batch() -> None:
    alone: list[Command] = [a_posting(debit("a", 1), credit("b", 1))]
    held: list[Command] = [a_hold(debit("a", 1), credit("b", 1)), a_void("k")]
    batches = whole_batches(cycle([alone, alone, held]), 3)
    assert list(islice(batches, 3)) == [[*alone, *alone], [*held, *alone], [*alone, *held]]
    assert next(whole_batches(cycle([held]), 1)) == held
