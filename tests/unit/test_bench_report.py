"""The arithmetic of the benchmark's report: ratios of rounds, limits, costs, and an earlier report beside it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from scripts.bench.meters.disk_space import INDEXES, JOURNAL, READ_MODELS, DiskSpace, Relation, added
from scripts.bench.meters.processor_time import (
    API,
    CLIENT,
    OTHERS,
    PROJECTIONS,
    PROJECTOR,
    WRITER,
    ProcessTime,
    ProcessTimes,
    used_seconds,
)
from scripts.bench.report.comparisons import ContestantComparison
from scripts.bench.report.costs import of_read_side, of_service, processor_table, space_table
from scripts.bench.report.earlier import (
    FORM,
    NoReport,
    Report,
    circumstances_that_differ,
    differences,
    differences_table,
    read,
    report_of,
)
from scripts.bench.report.figures import Figures, Measurement, Spread, spread
from scripts.bench.report.limits import (
    highest,
    journal_bytes,
    processor_ratio,
    read_side,
    read_side_ratio,
    typical,
)
from scripts.bench.report.report import document, table
from scripts.bench.report.results import Results
from scripts.bench.stages.projectors import Worker, busiest_over_mean, seconds_of

EVENTS = Relation("events", "events")
KEY_OF_EVENTS = Relation("events", "events_pkey")
ENTRIES = Relation("entries_v1", "entries_v1")
KEY_OF_ENTRIES = Relation("entries_v1", "entries_v1_plain")
PAGE = 8192


def figures(name: str, *rates: float, details: Mapping[str, float] | None = None) -> Figures:
    return Figures(name, "transfers/s", [Measurement(100, 100 / rate, dict(details or {})) for rate in rates])


def results(*all_figures: Figures, **space: DiskSpace) -> Results:
    return Results({each.name: each for each in all_figures}, {}, space, [])


def text_of(shown: Table) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(shown)
    return captured.get()


COMPARISONS = [
    ContestantComparison("stage", "fast", "slow", 4),
    ContestantComparison("stage", "fast", "slow", 4.1),
    ContestantComparison("stage", "fast", None, 20),
    ContestantComparison("stage", "slow", "fast", None),
]


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    """The third round was slow for both, so that its ratio is as good as that of the first."""
    found = results(figures("fast", 40, 30, 4), figures("slow", 10, 10, 1))
    assert COMPARISONS[0].spread(found.figures) == pytest.approx(Spread(4, 3, 4))
    told = document(COMPARISONS, found)["comparisons"]
    assert [round(one["value"], 3) for one in told] == [4, 4, 30, 0.25]
    assert [one["reached"] for one in told] == [True, False, True, None]
    assert [round(one["lowest"], 2) for one in told] == [3, 3, 4, 0.25]
    assert [round(one["highest"], 2) for one in told] == [4, 4, 40, 0.33]
    shown = text_of(table(COMPARISONS, found.figures))
    assert "4.00" in shown and "(3.00–4.00)" in shown and "missed" in shown


def test_a_spread_is_from_the_lowest_to_the_highest() -> None:
    assert spread([3, 1, 2]) == Spread(2, 1, 3)
    assert spread([3, 1, 2]).width == 2


def test_a_limit_is_of_the_worst_of_all_rounds() -> None:
    readings = [Measurement(1, 1.0, {"memory": 3.0}), Measurement(1, 1.0, {"memory": 5.0})]
    limit = highest("fast", "memory", 5)
    assert limit.found(results(Figures("fast", "transfers/s", readings))) == 5
    assert limit.found(results(figures("other", 1))) is None


def test_a_limit_of_what_one_short_round_says_little_of_is_of_the_median() -> None:
    readings = [Measurement(1, 1.0, {"share": share}) for share in (1.0, 1.5, 1.1)]
    limit = typical("fast", "share", 1.15)
    assert limit.found(results(Figures("fast", "transfers/s", readings))) == 1.1
    assert limit.found(results(figures("fast", 1))) is None
    assert limit.found(results(figures("other", 1))) is None


def test_processor_time_is_what_was_used_between_two_readings() -> None:
    before = ProcessTimes(
        {1: ProcessTime(API, 5.0), 2: ProcessTime(PROJECTOR, 1.0)},
        {10: ProcessTime(WRITER, 2.0), 11: ProcessTime(None, 9.0), 12: ProcessTime(OTHERS, 0.5)},
        ended_seconds=7.0,
    )
    # The process 12 has ended, and has used a quarter of a second before that. So has one that nobody saw.
    after = ProcessTimes(
        {1: ProcessTime(API, 5.5), 2: ProcessTime(PROJECTOR, 1.25), 3: ProcessTime(API, 0.125)},
        {10: ProcessTime(WRITER, 2.125), 11: ProcessTime(None, 9.5), 13: ProcessTime(PROJECTIONS, 0.0625)},
        ended_seconds=8.0,
    )
    assert used_seconds(before, after) == {
        API: 0.625,
        PROJECTOR: 0.25,
        WRITER: 0.125,
        PROJECTIONS: 0.0625,
        OTHERS: 0.5,
    }
    assert used_seconds(after, after) == dict.fromkeys((API, PROJECTOR, WRITER, PROJECTIONS, OTHERS), 0)
    alone = ProcessTimes({1: ProcessTime(API, 1.0)})
    assert used_seconds(ProcessTimes({}), alone) == {API: 1.0}


def costing(*rounds: Mapping[str, float]) -> Figures:
    return Figures("fast", "transfers/s", [Measurement(1_000, 1.0, {}, used) for used in rounds])


def test_processor_time_of_a_unit_is_over_all_rounds_and_the_client_is_apart() -> None:
    both = costing(
        {API: 0.2, PROJECTOR: 0.05, PROJECTIONS: 0.03, CLIENT: 0.01},
        {API: 0.3, PROJECTOR: 0.07, "publisher": 0.01},
    )
    used = both.processor_microseconds
    assert used == pytest.approx({API: 250, PROJECTOR: 60, PROJECTIONS: 15, CLIENT: 5, "publisher": 5})
    assert of_service(used) == pytest.approx(330)
    assert of_read_side(used) == pytest.approx(75)
    assert read_side("fast", 80).found(results(both)) == pytest.approx(75)
    assert read_side("fast", 80).found(results(figures("fast", 1))) is None
    (row,) = (
        line for line in text_of(processor_table([both])).splitlines() if line.strip().startswith("fast")
    )
    assert row.split() == ["fast", "330", "250", "60", "0", "15", "0", "5", "75", "5", "–"]
    (told,) = document([], results(both))["figures"].values()
    assert told["processor_microseconds"] == used
    assert [reading["processor_seconds"][API] for reading in told["rounds"]] == [0.2, 0.3]


def test_the_read_side_is_compared_with_that_of_another_workload() -> None:
    ours = costing({API: 0.1, PROJECTOR: 0.05, PROJECTIONS: 0.04})
    theirs = costing({API: 0.2, PROJECTOR: 0.03, PROJECTIONS: 0.03})._replace(name="slow")
    limit = read_side_ratio("fast", "slow", 1.1)
    assert limit.found(results(ours, theirs)) == pytest.approx(1.5)
    for unknown in (figures("slow", 1), costing({API: 0.2})._replace(name="slow"), figures("other", 1)):
        assert limit.found(results(ours, unknown)) is None


def test_the_processor_time_is_compared_with_that_of_another_workload() -> None:
    ours = costing({API: 0.3, PROJECTOR: 0.06, CLIENT: 9.0})
    theirs = costing({API: 0.2, PROJECTOR: 0.04})._replace(name="slow")
    limit = processor_ratio("fast", "slow", 1.15)
    assert limit.found(results(ours, theirs)) == pytest.approx(1.5)
    assert limit.found(results(ours, figures("slow", 1))) is None
    assert limit.found(results(ours)) is None


def test_a_share_takes_what_its_process_and_its_session_take() -> None:
    before = ProcessTimes(
        {1: ProcessTime(PROJECTOR, 5.0), 2: ProcessTime(PROJECTOR, 1.0)},
        {10: ProcessTime(PROJECTIONS, 2.0), 11: ProcessTime(PROJECTIONS, 0.5)},
    )
    after = ProcessTimes(
        {1: ProcessTime(PROJECTOR, 5.5), 2: ProcessTime(PROJECTOR, 1.25)},
        {10: ProcessTime(PROJECTIONS, 2.25), 11: ProcessTime(PROJECTIONS, 0.5)},
    )
    workers = [Worker(1, 10), Worker(2, 11)]
    assert seconds_of(workers, before, after) == [0.75, 0.25]
    elsewhere = ProcessTimes(before.service), ProcessTimes(after.service)
    assert seconds_of(workers, *elsewhere) == [0.5, 0.25]


def test_the_busiest_share_is_a_multiple_of_the_mean() -> None:
    assert busiest_over_mean([0.75, 0.25]) == 1.5
    assert busiest_over_mean([0.5]) == 1
    assert busiest_over_mean([0.0, 0.0]) == 1


def test_disk_space_is_by_part_and_every_table_that_is_no_read_model_is_of_the_journal() -> None:
    before = {EVENTS: 10 * PAGE, KEY_OF_EVENTS: 2 * PAGE, ENTRIES: 0}
    after = {
        EVENTS: 810 * PAGE,
        KEY_OF_EVENTS: 202 * PAGE,
        ENTRIES: 400 * PAGE,
        KEY_OF_ENTRIES: 100 * PAGE,
        Relation("head", "head"): 0,
    }
    space = added(before, after, 4_000)
    assert space.per_transaction(JOURNAL) == 1_000 * PAGE / 4_000
    assert space.per_transaction(INDEXES) == 200 * PAGE / 4_000
    assert space.per_transaction(READ_MODELS) == 500 * PAGE / 4_000
    assert journal_bytes("http", 2_000).found(results(http=space)) == 2_048
    assert "2,048" in text_of(space_table({"http": space}))
    assert document([], results(http=space))["space"]["http"]["bytes_added"] == {
        "events": 800 * PAGE,
        "events_pkey": 200 * PAGE,
        "entries_v1": 400 * PAGE,
        "entries_v1_plain": 100 * PAGE,
    }


def test_disk_space_is_not_told_where_single_pages_decide_it() -> None:
    few = added({}, {EVENTS: 98 * PAGE, KEY_OF_EVENTS: 101 * PAGE}, 1_000)
    assert few.per_transaction(JOURNAL) is None
    enough = added({}, {EVENTS: 99 * PAGE, KEY_OF_EVENTS: 101 * PAGE}, 1_000)
    assert enough.per_transaction(JOURNAL) == 200 * PAGE / 1_000
    assert enough.per_transaction(READ_MODELS) is None
    assert journal_bytes("http", 2_000).found(results(http=few)) is None
    assert "–" in text_of(space_table({"http": few}))


def report(*all_figures: Figures, **other: Any) -> dict[str, Any]:
    """A report as it is written to a file."""
    comparisons = [ContestantComparison("stage", "fast", "slow", None)] if len(all_figures) > 1 else []
    circumstances = {
        "started_at": "2026-11-30T08:00:00+00:00",
        "machine": {"cores": 2, "load_average_before": [0, 0, 0]},
        "versions": {"python": "3.11.7"},
        "database": {"server_version": "18.6"},
        "size": {"rounds": 3},
    }
    return {**circumstances, **document(comparisons, results(*all_figures)), **other}


def words(then: dict[str, Any], now: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(one.name, one.measure): one.word for one in differences(report_of(then), report_of(now))}


@pytest.mark.parametrize(
    ("then", "now", "word"),
    [
        ((100, 110, 120), (131, 121, 141), "changed"),  # by 21, and each has a spread of 20
        ((100, 110, 120), (130, 120, 140), "as before"),  # by 20
        ((100, 110, 120), (89, 79, 99), "changed"),
        ((100, 110, 120), (150, 115, 190), "as before"),  # the spread of the second is 75
        ((100,), (200, 210), "unknown"),  # one round has no spread
        ((100, 100), (100, 100), "as before"),
    ],
)
def test_a_row_has_changed_if_it_differs_by_more_than_the_spread_of_either(
    then: tuple[float, ...], now: tuple[float, ...], word: str
) -> None:
    found = words(report(figures("fast", *then)), report(figures("fast", *now)))
    assert found == {("fast", "transfers/s"): word}


def test_only_rows_of_both_reports_are_compared_and_the_ratio_is_now_to_then() -> None:
    details = {"p99_milliseconds": 20.0}
    then = report(figures("fast", 40, 40), figures("slow", 10, 10), figures("gone", 1, 1))
    now = report(figures("fast", 20, 20, details=details), figures("slow", 10, 10), figures("new", 1, 1))
    found = {(one.name, one.measure): one.ratio for one in differences(report_of(then), report_of(now))}
    assert found == pytest.approx(
        {("fast / slow", "ratio"): 0.5, ("fast", "transfers/s"): 0.5, ("slow", "transfers/s"): 1}
    )
    shown = text_of(differences_table(report_of(then), report_of(now)))
    assert "40 (40–40)" in shown and "0.50" in shown and "changed" in shown


def test_what_differs_in_machine_versions_database_and_size_is_said_and_the_load_is_not() -> None:
    then = report(figures("fast", 1))
    now = report(
        figures("fast", 1),
        machine={"cores": 4, "load_average_before": [9, 9, 9]},
        versions={"python": "3.11.7", "uvloop": "0.22"},
        size={"rounds": 5},
    )
    assert list(circumstances_that_differ(report_of(then), report_of(now))) == [
        "machine, cores: 2 then, 4 now",
        "versions, uvloop: None then, 0.22 now",
        "size, rounds: 3 then, 5 now",
    ]
    assert list(circumstances_that_differ(report_of(then), report_of(then))) == []


def test_a_report_that_was_written_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(report(figures("fast", 1, 2))))
    found = read(file)
    assert isinstance(found, Report)
    assert [(row.name, row.rounds, row.found) for row in found.rows] == [("fast", 2, Spread(1.5, 1, 2))]


def without(member: str) -> dict[str, Any]:
    return {name: value for name, value in report(figures("fast", 1)).items() if name != member}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ('{"a": "\xff"}', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is no report of tallystick bench"),
        (json.dumps({"form": FORM, "figures": {}}), "is no report of tallystick bench"),
        (
            json.dumps(without("form")),
            f"is a report of form 1, and this release compares those of form {FORM}",
        ),
        (json.dumps(report(form=FORM + 1)), f"is a report of form {FORM + 1}"),
        (json.dumps(without("rows")), "is a damaged report: .*rows"),
        (json.dumps(report(rows=[{"name": "fast"}])), "is a damaged report"),
    ],
)
def test_a_file_that_is_no_report_is_refused_with_its_name_and_the_reason(
    tmp_path: Path, content: str, why: str
) -> None:
    file = tmp_path / "earlier.json"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(NoReport, match=rf"earlier\.json {why}"):
        read(file)
    with pytest.raises(NoReport, match=r"nowhere\.json cannot be read: No such file"):
        read(tmp_path / "nowhere.json")
