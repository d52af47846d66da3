"""`tallystick bench`: every workload beside its yardstick."""

import json
import signal
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, NamedTuple

import psycopg
import typer
from rich.console import Console

from scripts.bench.books import Books
from scripts.bench.figures import COMPARISONS, BenchFailed, Comparison, Figures, names_of
from scripts.bench.following import following
from scripts.bench.in_process import in_process
from scripts.bench.machine import describe_database, describe_machine, describe_versions
from scripts.bench.over_http import over_http
from scripts.bench.replaying import replaying
from scripts.bench.report import document, limit_line, limits, table
from scripts.bench.rounds import measure
from scripts.bench.stages import Stage
from scripts.bench.statements import statements
from scripts.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError

BUSY_LOAD_PER_CORE = 0.25
"""Above this a workload that needs every core is measured with fewer of them than its yardstick, which needs one."""

WORKLOADS = tuple(dict.fromkeys(comparison.workload for comparison in COMPARISONS))

_output = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
_errors = Console(stderr=True, highlight=False)


class Size(NamedTuple):
    """How much is measured: rounds, about how long each run lasts, how large the book is, the journal to replay, and
    the statement to read."""

    rounds: int
    seconds: float
    accounts: int
    replayed_transfers: int
    statement_entries: int


class Found(NamedTuple):
    """What all stages yielded: figures by contestant, and books by stage."""

    figures: dict[str, Figures]
    books: dict[str, Books]


QUICK = Size(rounds=2, seconds=0.25, accounts=1_000, replayed_transfers=5_000, statement_entries=5_000)


def bench(
    rounds: Annotated[int, typer.Option(min=1, max=100, help="How often each is measured.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.05, max=60, help="About how long each run lasts.")] = 1.5,
    statement_entries: Annotated[
        int, typer.Option(min=1_000, max=10_000_000, help="How many entries the long statement has.")
    ] = 100_000,
    quick: Annotated[bool, typer.Option("--quick", help="As little as shows that it works.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Where to write every figure.", dir_okay=False)
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="WORKLOAD", help=f"One of {', '.join(WORKLOADS)}; repeatable.")
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(help="A PostgreSQL to use [one of its own, removed afterwards]")
    ] = None,
) -> None:
    """Measure each workload beside its yardstick, in the same run, in turns.

    Ends with 1 if a workload did not do what it was asked, never because of a figure: a bar that was missed is said.
    """
    comparisons = _chosen(only or [])
    if json_file and not json_file.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {json_file.parent}", param_hint="--json")
    size = QUICK if quick else Size(rounds, seconds, 10_000, 50_000, statement_entries)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything started is ended
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
        raise typer.Exit(1) from error
    _tell(comparisons, found, circumstances)
    if json_file:
        report = {**circumstances, "seconds": monotonic() - began, **document(comparisons, *found)}
        json_file.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _tell(comparisons: Sequence[Comparison], found: Found, circumstances: Mapping[str, Any]) -> None:
    machine, database = circumstances["machine"], circumstances["database"]
    _output.print(table(comparisons, found.figures))
    for limit in limits(found.figures):
        _output.print(limit_line(limit, found.figures))
    _output.print(
        f"{machine['cores']} cores, Python {circumstances['versions']['python']},"
        f" PostgreSQL {database['server_version']}, fsync {database['fsync']},"
        f" synchronous_commit {database['synchronous_commit']}."
    )
    load, cores = machine["load_average_before"][0], machine["cores"]
    if load > BUSY_LOAD_PER_CORE * cores:
        _output.print(
            f"The machine was busy with other things (load {load:.1f}): measure again when it is not."
        )
    for stage, books in found.books.items():
        _output.print(f"Books of {stage}: {books.recorded:,} transfers, debits = credits = {books.debits:,}.")


def _chosen(only: Sequence[str]) -> list[Comparison]:
    if unknown := [name for name in only if name not in WORKLOADS]:
        raise typer.BadParameter(f"there is no workload {unknown[0]}", param_hint="--only")
    return [comparison for comparison in COMPARISONS if not only or comparison.workload in only]


@contextmanager
def _database(url: str | None) -> Iterator[str]:
    """The database that was named, else one of its own: durable, as the service's is."""
    if url:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as folder:
        postgres = EmbeddedPostgres(Path(folder) / "data")
        try:
            postgres.start()
            yield postgres.url
        finally:
            postgres.stop()


def _measure(url: str, size: Size, comparisons: Sequence[Comparison]) -> Found:
    """Run the stages that the comparisons need, one after the other."""
    begin = {
        "in-process": lambda: in_process(url, size.accounts),
        "http": lambda: over_http(url, size.accounts),
        "following": lambda: following(url, size.accounts),
        "statement": lambda: statements(url, size.statement_entries),
        "replay": lambda: replaying(url, size.accounts, size.replayed_transfers),
    }
    found = Found({}, {})
    with _errors.status("…") as status:
        for name in dict.fromkeys(comparison.stage for comparison in comparisons):
            status.update(f"{name}: preparing")
            with begin[name]() as stage:
                _run(name, stage, size, names_of(comparisons), found, status.update)
    return found


def _run(
    name: str, stage: Stage, size: Size, wanted: Collection[str], found: Found, tell: Callable[[str], None]
) -> None:
    contestants = [contestant for contestant in stage.contestants if contestant.name in wanted]
    for figures in measure(contestants, size.rounds, size.seconds, tell):
        found.figures[figures.name] = figures
    tell(f"{name}: checking the books")
    found.books[name] = stage.books()
