"""`tallystick bench`: measures every workload next to its yardstick."""

import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from shutil import disk_usage
from time import monotonic
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console

from scripts.bench.measuring import QUICK, Size, measure_stages
from scripts.bench.report.comparisons import (
    COMPARISONS,
    CONCURRENCY,
    CONSOLE,
    CONTENTION,
    GROWTH,
    PROJECTORS,
    PUBLISHED,
    STANDARD,
    WORKERS,
    ContestantComparison,
    chosen,
)
from scripts.bench.report.costs import processor_table, space_table
from scripts.bench.report.earlier import (
    NoReport,
    Report,
    circumstances_that_differ,
    differences_table,
    read,
    report_of,
)
from scripts.bench.report.figures import BenchFailed
from scripts.bench.report.machine import describe_database, describe_machine, describe_versions
from scripts.bench.report.plot import plot
from scripts.bench.report.report import document, growth_table, limit_lines, table
from scripts.bench.report.results import Results
from scripts.bench.stages.growth import bytes_needed
from scripts.bench.yardsticks.peers import peers_table
from scripts.endings import ERRORS
from scripts.serving.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError

BUSY_LOAD_PER_CORE = 0.25
"""Above this load per core, a workload that needs every core gets fewer of them, while its yardstick needs only one."""

STAGES = tuple(dict.fromkeys(comparison.stage for comparison in COMPARISONS))
ASKED_FOR_BY = {
    "--published": PUBLISHED,
    "--contention": CONTENTION,
    "--projectors": PROJECTORS,
    "--workers": WORKERS,
    "--plot": CONCURRENCY,
    "--growth": GROWTH,
    "--console": CONSOLE,
}
"""What is measured only on request, by the option that requests it."""

_output = Console(highlight=False, width=None if sys.stdout.isatty() else 130)
_errors = Console(stderr=True, highlight=False)


def bench(
    rounds: Annotated[
        int, typer.Option(min=1, max=100, help="Rounds: how often each workload is measured.")
    ] = 5,
    seconds: Annotated[float, typer.Option(min=0.05, max=60, help="About how long each run lasts.")] = 1.5,
    statement_entries: Annotated[
        int, typer.Option(min=1_000, max=10_000_000, help="Number of entries of the long statement.")
    ] = 100_000,
    events: Annotated[
        int,
        typer.Option(
            min=50_001,
            max=100_000_000,
            help="With --growth or --console: number of events of the large journal.",
        ),
    ] = 5_000_000,
    quick: Annotated[
        bool, typer.Option("--quick", help="Measure as little as possible, to see that it works.")
    ] = False,
    of_peers: Annotated[
        bool, typer.Option("--published", help="Measure the workloads that other ledgers publish.")
    ] = False,
    of_contention: Annotated[
        bool,
        typer.Option("--contention", help="Measure by how much a few of 100,000 accounts are preferred."),
    ] = False,
    of_projectors: Annotated[
        bool,
        typer.Option("--projectors", help="Measure the projections in 1, 2 and 4 processes, and kill one."),
    ] = False,
    of_workers: Annotated[
        bool, typer.Option("--workers", help="Measure single transfers with 1, 2 and 4 API processes.")
    ] = False,
    plot_file: Annotated[
        Path | None,
        typer.Option(
            "--plot", help="Measure by number of connections and draw it to this SVG file.", dir_okay=False
        ),
    ] = None,
    of_growth: Annotated[
        bool,
        typer.Option("--growth", help="Compare a journal of --events with one of 50,000; takes minutes."),
    ] = False,
    of_console: Annotated[
        bool,
        typer.Option("--console", help="Measure every page of the console beside --events; takes minutes."),
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Measure everything.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write every figure to this JSON file.", dir_okay=False)
    ] = None,
    compared_with: Annotated[
        Path | None,
        typer.Option("--compare", metavar="FILE", help="Compare with an earlier JSON file of --json."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"Measure only this workload, or all of a stage: {', '.join(STAGES)}; repeatable.",
        ),
    ] = None,
    database_url: Annotated[str | None, typer.Option(help="The PostgreSQL to use [a temporary one]")] = None,
) -> None:
    """Measure each workload next to its yardstick, in turns, in the same run.

    Without an option that names workloads, measures the standard ones, for some minutes. Exits 3 if a workload did not
    do what it was asked. A missed bar is reported and does not change the exit code.
    """
    asked = {
        "--published": of_peers,
        "--contention": of_contention,
        "--projectors": of_projectors,
        "--workers": of_workers,
        "--plot": plot_file is not None,
        "--growth": of_growth,
        "--console": of_console,
    }
    comparisons = (
        COMPARISONS if everything else _asked_for([name for name, yes in asked.items() if yes], only or [])
    )
    earlier = _earlier(compared_with)
    _require_folder(json_file, "--json")
    _require_folder(plot_file, "--plot")
    size = QUICK if quick else Size(rounds, seconds, 10_000, 50_000, statement_entries, events)
    if {*GROWTH, *CONSOLE} & set(comparisons) and not database_url:
        require_room(size.events)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started is stopped
    began = monotonic()
    circumstances: dict[str, Any] = {
        "started_at": datetime.now(UTC).isoformat(),
        "size": size._asdict(),
        "machine": describe_machine(),
        "versions": describe_versions(),
    }
    try:
        with _database(database_url) as url, _errors.status("…") as status:
            circumstances["database"] = describe_database(url)
            results = measure_stages(url, size, comparisons, status.update)
    except (BenchFailed, EmbeddedPostgresError, psycopg.OperationalError) as error:
        _errors.print(f"tallystick: {error}", markup=False)
        raise typer.Exit(ERRORS) from error
    report = {**circumstances, "seconds": monotonic() - began, **document(comparisons, results)}
    _tell(comparisons, results, circumstances)
    if earlier:
        _tell_differences(earlier, report_of(report))
    if plot_file:
        plot_file.write_text(plot(results.figures, _where_and_when(circumstances)), encoding="utf-8")
    if json_file:
        json_file.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _earlier(file: Path | None) -> Report | None:
    try:
        return read(file) if file else None
    except NoReport as error:
        raise typer.BadParameter(str(error), param_hint="--compare") from error


def _tell_differences(then: Report, now: Report) -> None:
    _output.print(differences_table(then, now))
    differing = list(circumstances_that_differ(then, now))
    if differing:
        _output.print("The circumstances differ, so the difference may be theirs:")
    for sentence in differing:
        _output.print(f"- {sentence}", markup=False)


def _tell(
    comparisons: Sequence[ContestantComparison], results: Results, circumstances: Mapping[str, Any]
) -> None:
    _output.print(table(comparisons, results.figures))
    _output.print(processor_table(results.figures.values()))
    if results.space:
        _output.print(space_table(results.space))
    for line in limit_lines(results):
        _output.print(line)
    if results.milestones:
        _output.print(growth_table(results.milestones))
    if set(comparisons) & set(PUBLISHED):
        _output.print(peers_table())
    database = circumstances["database"]
    _output.print(
        f"{_where_and_when(circumstances)}, fsync {database['fsync']}, synchronous_commit"
        f" {database['synchronous_commit']}."
    )
    if left_out := [name for name, theirs in ASKED_FOR_BY.items() if not set(theirs) & set(comparisons)]:
        _output.print(f"Left out; measured with {', '.join(left_out)} or --all.")
    machine = circumstances["machine"]
    load, cores = machine["load_average_before"][0], machine["cores"]
    if load > BUSY_LOAD_PER_CORE * cores:
        _output.print(
            f"The machine was busy with other things (load {load:.1f}): measure again when it is not."
        )
    for stage, books in results.books.items():
        _output.print(
            f"Books of {stage}: {books.recorded:,} transactions, debits = credits = {books.debits:,}."
        )


def _where_and_when(circumstances: Mapping[str, Any]) -> str:
    machine, database = circumstances["machine"], circumstances["database"]
    return (
        f"{machine['processor']}, {machine['cores']} cores, Python {circumstances['versions']['python']},"
        f" PostgreSQL {database['server_version']}, {circumstances['started_at'][:10]}"
    )


def _asked_for(options: Sequence[str], only: Sequence[str]) -> Sequence[ContestantComparison]:
    if not (options or only):
        return STANDARD
    try:
        named = chosen(only)
    except LookupError as error:
        raise typer.BadParameter(f"there is no workload {error}", param_hint="--only") from error
    wanted = {*named, *chain.from_iterable(ASKED_FOR_BY[option] for option in options)}
    return [comparison for comparison in COMPARISONS if comparison in wanted]


def _require_folder(file: Path | None, option: str) -> None:
    if file and not file.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {file.parent}", param_hint=option)


def require_room(events: int) -> None:
    """Refuse to fill a journal with this many events if the disk would become full."""
    needed, free = bytes_needed(events), disk_usage(tempfile.gettempdir()).free
    if needed > free:
        raise typer.BadParameter(
            f"it takes {needed / 1e9:,.0f} GB, and {tempfile.gettempdir()} has {free / 1e9:,.0f}",
            param_hint="--events",
        )


@contextmanager
def _database(url: str | None) -> Iterator[str]:
    """The named database, else a temporary one, durable like the service's own."""
    if url:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as folder:
        postgres = EmbeddedPostgres(Path(folder) / "data")
        try:
            postgres.start()
            yield postgres.superuser_url
        finally:
            postgres.stop()
