"""What a unit of work costs: tables of the processor time that it takes, and of the disk space of a transaction."""

from collections.abc import Iterable, Mapping

from rich.box import SIMPLE
from rich.table import Table

from scripts.bench.meters.disk_space import INDEXES, JOURNAL, READ_MODELS, DiskSpace
from scripts.bench.meters.processor_time import (
    API,
    BARE_ROUTE,
    CLIENT,
    LEDGER,
    OTHERS,
    PROJECTIONS,
    PROJECTOR,
    READ_SIDE,
    WRITER,
)
from scripts.bench.report.figures import Figures, in_digits

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "API or\nledger": (API, LEDGER, BARE_ROUTE),
    "projector": (PROJECTOR,),
    "PG\nwriter": (WRITER,),
    "PG\nprojections": (PROJECTIONS,),
    "PG\nothers": (OTHERS,),
}
"""The roles that have a column; the processes of all others but the client share one. PG: PostgreSQL's processes."""

_SPACE = {"journal": JOURNAL, "of it\nindexes": INDEXES, "read models": READ_MODELS}


def of_service(used: Mapping[str, float]) -> float:
    """Return the processor time of all roles but the client's."""
    return _sum(used, used.keys() - {CLIENT})


def of_read_side(used: Mapping[str, float]) -> float:
    """Return the processor time of the roles that keep read models up to date."""
    return _sum(used, READ_SIDE)


def processor_table(figures: Iterable[Figures]) -> Table:
    """Return the table of processor time per unit, by role, for the workloads of which it is known."""
    shown = Table(title="Processor time, µs per unit", box=SIMPLE)
    columns = (
        "workload",
        "in all",
        *_COLUMNS,
        "other\nprocesses",
        "of it\nread side",
        "client",
        "catching\nup, s",
    )
    for column in columns:
        shown.add_column(column, no_wrap=True, justify="left" if column == "workload" else "right")
    for each in figures:
        if used := each.processor_microseconds:
            shown.add_row(each.name, *(f"{value:,.0f}" for value in _by_column(used)), _catching_up(each))
    return shown


def _by_column(used: Mapping[str, float]) -> list[float]:
    named = [_sum(used, roles) for roles in _COLUMNS.values()]
    in_all = of_service(used)
    return [in_all, *named, in_all - sum(named), of_read_side(used), used.get(CLIENT, 0.0)]


def _catching_up(figures: Figures) -> str:
    seconds = figures.detail("catch_up_seconds")
    return "–" if seconds is None else in_digits(seconds)


def space_table(space: Mapping[str, DiskSpace]) -> Table:
    """Return the table of disk space per transaction, by stage."""
    shown = Table(title="Disk space, bytes per transaction", box=SIMPLE)
    for column in ("stage", *_SPACE, "transactions"):
        shown.add_column(column, no_wrap=True, justify="left" if column == "stage" else "right")
    for stage, found in space.items():
        sizes = (found.per_transaction(part) for part in _SPACE.values())
        shown.add_row(
            stage, *("–" if size is None else f"{size:,.0f}" for size in sizes), f"{found.transactions:,}"
        )
    return shown


def _sum(used: Mapping[str, float], roles: Iterable[str]) -> float:
    return sum(used.get(role, 0.0) for role in roles)
