"""`tallystick bench`: measures every workload next to its yardstick."""

import json
import signal
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from shutil import disk_usage
from time import monotonic
from typing import Annotated, Any, NamedTuple

import psycopg
import typer
from rich.console import Console

from scripts.bench.report.comparisons import (
    COMPARISONS,
    CONCURRENCY,
    CONSOLE,
    GROWTH,
    PUBLISHED,
    STANDARD,
    ContestantComparison,
    chosen,
    names_of,
)
from scripts.bench.report.figures import BenchFailed, Figures
from scripts.bench.report.machine import describe_database, describe_machine, describe_versions
from scripts.bench.report.plot import plot
from scripts.bench.report.report import document, growth_table, limit_line, limits, table
from scripts.bench.report.rounds import measure
from scripts.bench.report.stages import Stage
from scripts.bench.workloads.books import Books
from scripts.bench.workloads.concurrency import concurrency
from scripts.bench.workloads.console_pages import console_pages
from scripts.bench.workloads.following import following
from scripts.bench.workloads.growth import SMALL_EVENTS, bytes_needed, growth
from scripts.bench.workloads.in_process import in_process
from scripts.bench.workloads.over_http import over_http
from scripts.bench.workloads.published import published, published_http
from scripts.bench.workloads.replaying import replaying
from scripts.bench.workloads.statements import statements
from scripts.bench.yardsticks.peers import peers_table
from scripts.endings import ERRORS
from scripts.serving.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError

BUSY_LOAD_PER_CORE = 0.25
"""Above this load per core, a workload that needs every core gets fewer of them, while its yardstick needs only one."""

STAGES = tuple(dict.fromkeys(comparison.stage for comparison in COMPARISONS))
ASKED_FOR_BY = {"--published": PUBLISHED, "--plot": CONCURRENCY, "--growth": GROWTH, "--console": CONSOLE}
"""What is measured only on request, by the option that requests it."""

_output = Console(highlight=False, width=None if sys.stdout.isatty() else 130)
_errors = Console(stderr=True, highlight=False)


class Size(NamedTuple):
    """How much is measured: rounds, seconds per run, accounts of the book, transfers of the journal to replay, entries
    of the long statement, events of the large journal and of the small one, and the part of a warm-up that is run.
    """

    rounds: int
    seconds: float
    accounts: int
    replayed_transfers: int
    statement_entries: int
    events: int
    small_events: int = SMALL_EVENTS
    warm_up: float = 1.0


class StageResults(NamedTuple):
    """The results of all stages: figures by contestant, books by stage, and milestones of the growing journal."""

    figures: dict[str, Figures]
    books: dict[str, Books]
    milestones: list[Mapping[str, Any]]


QUICK = Size(
    rounds=1,
    seconds=0.1,
    accounts=200,
    replayed_transfers=500,
    statement_entries=2_000,
    events=6_000,
    small_events=5_000,
    warm_up=0.1,
)


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

    Without --published, --plot, --growth, --console, --only or --all, measures the standard workloads, for some
    minutes. Exits 3 if a workload did not do what it was asked. A missed bar is reported and does not change the exit
    code.
    """
    asked = {
        "--published": of_peers,
        "--plot": plot_file is not None,
        "--growth": of_growth,
        "--console": of_console,
    }
    comparisons = (
        COMPARISONS if everything else _asked_for([name for name, yes in asked.items() if yes], only or [])
    )
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
        with _database(database_url) as url:
            circumstances["database"] = describe_database(url)
            found = _measure(url, size, comparisons)
    except (BenchFailed, EmbeddedPostgresError, psycopg.OperationalError) as error:
        _errors.print(f"tallystick: {error}", markup=False)
        raise typer.Exit(ERRORS) from error
    _tell(comparisons, found, circumstances)
    if plot_file:
        plot_file.write_text(plot(found.figures, _where_and_when(circumstances)), encoding="utf-8")
    if json_file:
        report = {**circumstances, "seconds": monotonic() - began, **document(comparisons, *found)}
        json_file.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _tell(
    comparisons: Sequence[ContestantComparison], found: StageResults, circumstances: Mapping[str, Any]
) -> None:
    _output.print(table(comparisons, found.figures))
    for limit in limits(found.figures):
        _output.print(limit_line(limit, found.figures))
    if found.milestones:
        _output.print(growth_table(found.milestones))
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
    for stage, books in found.books.items():
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


def _measure(url: str, size: Size, comparisons: Sequence[ContestantComparison]) -> StageResults:
    """Run the stages the comparisons need, one after the other."""
    begin = {
        "in-process": lambda: in_process(url, size.accounts),
        "http": lambda: over_http(url, size.accounts),
        "following": lambda: following(url, size.accounts),
        "statement": lambda: statements(url, size.statement_entries),
        "replay": lambda: replaying(url, size.accounts, size.replayed_transfers),
        "published": lambda: published(url, size.accounts),
        "published-http": lambda: published_http(url, size.accounts),
        "concurrency": lambda: concurrency(url, size.accounts),
        "growth": lambda: growth(url, size.accounts, size.events, size.small_events),
        "console": lambda: console_pages(url, size.accounts, size.events),
    }
    found = StageResults({}, {}, [])
    with _errors.status("…") as status:
        for name in dict.fromkeys(comparison.stage for comparison in comparisons):
            status.update(f"{name}: preparing")
            with begin[name]() as stage:
                _run(name, stage, size, names_of(comparisons), found, status.update)
    return found


def _run(
    name: str,
    stage: Stage,
    size: Size,
    wanted: Collection[str],
    found: StageResults,
    tell: Callable[[str], None],
) -> None:
    contestants = [contestant for contestant in stage.contestants if contestant.name in wanted]
    for figures in measure(contestants, size.rounds, size.seconds, tell, size.warm_up):
        found.figures[figures.name] = figures
    tell(f"{name}: checking the books")
    found.books[name] = stage.books()
    found.milestones.extend(stage.milestones)
