"""`tallystick report`: journal, trial balance, activity, statements and changes, as tables, CSV or JSON."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Annotated, Any, Literal

import typer
from psycopg import Connection

from domain.journal.encoding import UnreadableEvent
from domain.journal.shown_positions import ShownPositions, read_shown_positions
from domain.model.streams import is_address, is_ledger_name
from projections.engine.live_version import Reading
from projections.errors import ProjectionBehind
from projections.read_models.account_changes import FACETS, account_changes
from projections.read_models.entries import Clock
from projections.read_models.reports import COLUMNS, Scope, Span, Totals
from projections.read_models.reports import report as read_report
from scripts.commands.installation import (
    DatabaseUrl,
    DataDir,
    InstallationName,
    Schema,
    require,
    service_connection,
)
from scripts.commands.report.forms import AmountsForm, ChangesForm, Form, Format, Stated, write
from scripts.commands.report.periods import From, Period, To, period
from scripts.console import fail

PATIENCE_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 0.1

Kind = Literal["journal", "trial-balance", "activity", "statement", "changes"]

_CHANGES: Sequence[str] = (
    "recorded_at",
    "position",
    "account",
    "asset",
    "change",
    "attribute",
    "from",
    "to",
    "actor",
    "reason",
    "correlation_id",
)
_OF_TRANSACTION = frozenset(COLUMNS["journal"][: COLUMNS["journal"].index("account")])
_OF_ACCOUNTS = frozenset(("journal", "changes"))
_TITLES = {
    "journal": "Journal",
    "trial-balance": "Trial balance",
    "activity": "Activity by the day",
    "statement": "Statement",
    "changes": "Changes of accounts",
}


def report(
    kind: Annotated[
        Kind,
        typer.Argument(metavar="REPORT", help="journal, trial-balance, activity, statement or changes"),
    ],
    ledger: Annotated[str, typer.Option(help="The ledger to report on")],
    account: Annotated[
        str | None, typer.Option(help="The account of a statement; journal and changes: only this account")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(help="Journal and changes: only accounts whose addresses begin with this")
    ] = None,
    since: From = None,
    until: To = None,
    clock: Annotated[Clock, typer.Option(help="Use the recorded or the effective time")] = "recorded",
    group_by: Annotated[
        str | None,
        typer.Option(help="trial-balance: segment:N groups by the first N segments of the address"),
    ] = None,
    limits: Annotated[bool, typer.Option("--limits", help="changes: only changes of limits")] = False,
    minor_units: Annotated[
        bool, typer.Option("--minor-units", help="Show minor units in tables and CSV, as JSON always does")
    ] = False,
    form: Annotated[Format, typer.Option("--format", help="table, csv or json")] = "table",
    min_position: Annotated[
        int, typer.Option(min=0, help="Wait some seconds until the report includes this position")
    ] = 0,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Report on one consistent state of a ledger. The report says which position it reflects (CSV: on standard error).

    journal: every transaction that moved money, with all its entries in debit and credit columns. A hold appears once
    it is settled. Voids and expiries move nothing and do not appear. With --account or --prefix, the report has every
    transaction that touched such an account, with all its entries, so debits equal credits in its totals too.

    trial-balance: each account with its opening balance, debits, credits and closing balance. The closing balance is
    also shown in a debit or a credit column.

    activity: the number of transactions and entries and the amount of each day, by kind and asset.

    statement: the entries of one account, with its balance after each.

    changes: who opened, changed, froze, unfroze or closed an account, when, and the values before and after.

    --from is included. --to is included if it is a day and excluded if it is an instant. Days are UTC. Without --to, a
    report by effective time includes transactions dated in the future.

    Tables and CSV show amounts in units of the asset, or in minor units. JSON has minor units: as integers, or as
    strings of digits for sums over accounts. Opening and closing balances are credits − debits. A statement shows the
    account's balance, counted in the order of the chosen clock.

    CSV is RFC 4180 in UTF-8. A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    within = period(since, until)
    scope = Scope(account, prefix, _segments(group_by))
    _judge(kind, ledger, scope, clock, limits=limits)
    with service_connection("report", database_url, data_dir, schema, installation) as connection:
        require(connection, ledger, account)
        positions = read_shown_positions(connection, ledger)
        wanted = positions.own(min_position)
        span = Span(clock, within.since, within.until)
        with _awaited(connection, kind, ledger, span, scope, wanted, limits=limits) as reading:
            shown = _as_shown(kind, reading, positions)
            _write(kind, ledger, span, scope, within, shown, form, minor_units=minor_units)


def _as_shown(
    kind: Kind, reading: Reading[Iterator[Any]], positions: ShownPositions
) -> Reading[Iterator[Any]]:
    """Return a report with the positions that the API shows, which differ if the ledger has moved."""
    if not positions:
        return reading
    rows = reading.found
    if kind == "changes":
        rows = (row._replace(position=positions.shown(row.position)) for row in rows)
    elif "position" in (columns := COLUMNS[kind]):
        at = columns.index("position")
        rows = ((*row[:at], positions.shown(row[at]), *row[at + 1 :]) for row in rows)
    position, head = positions.shown(reading.position), positions.shown(reading.head)
    return reading._replace(found=rows, position=position, head=head)


def _judge(kind: Kind, ledger: str, scope: Scope, clock: Clock, *, limits: bool) -> None:
    """Raise `typer.BadParameter` for an option that does not belong to the report or has no valid value."""
    account, prefix, segments = scope
    wrong = {
        "--account": (account is None and kind == "statement", "is needed for a statement"),
        "--account ": (account is not None and kind in ("trial-balance", "activity"), f"is not for {kind}"),
        "--account  ": (account is not None and not is_address(account), "is not an address"),
        "--prefix": (prefix is not None and kind not in _OF_ACCOUNTS, f"is not for {kind}"),
        "--prefix ": (prefix is not None and account is not None, "and --account exclude each other"),
        "--prefix  ": (
            prefix is not None and not is_address(f"{prefix}a"),
            "is not the beginning of an address",
        ),
        "--group-by": (segments is not None and kind != "trial-balance", f"is not for {kind}"),
        "--limits": (limits and kind != "changes", f"is not for {kind}"),
        "--clock": (clock == "effective" and kind == "changes", "changes have only a recorded time"),
        "--ledger": (not is_ledger_name(ledger), "is not a ledger name"),
    }
    for option, (is_wrong, words) in wrong.items():
        if is_wrong:
            raise typer.BadParameter(words, param_hint=option.strip())


def _segments(group_by: str | None) -> int | None:
    if group_by is None:
        return None
    name, _, number = group_by.partition(":")
    if name != "segment" or number not in {str(n) for n in range(1, 11)}:
        raise typer.BadParameter("must be segment:1 to segment:10", param_hint="--group-by")
    return int(number)


@contextmanager
def _awaited(
    connection: Connection[Any],
    kind: Kind,
    ledger: str,
    span: Span,
    scope: Scope,
    min_position: int,
    *,
    limits: bool,
) -> Iterator[Reading[Iterator[Any]]]:
    """The rows of a report once it reflects `min_position`. Exits 3 if that does not happen in time."""
    give_up_at = monotonic() + PATIENCE_SECONDS
    try:
        while True:
            with _opened(connection, kind, ledger, span, scope, limits=limits) as reading:
                if reading.position >= min_position:
                    yield reading
                    return
            if monotonic() > give_up_at:
                reached = f"position {reading.position} of {reading.head}"
                fail(f"projection_behind: {reached} is reflected, not yet {min_position}")
            sleep(LOOK_AGAIN_SECONDS)
    except ProjectionBehind:
        fail("the projection of entries cannot be read yet: does a projector run?")
    except UnreadableEvent as error:
        fail(str(error))


@contextmanager
def _opened(
    connection: Connection[Any], kind: Kind, ledger: str, span: Span, scope: Scope, *, limits: bool
) -> Iterator[Reading[Iterator[Any]]]:
    if kind != "changes":
        with read_report(connection, kind, ledger, span, scope) as reading:
            yield reading
        return
    with account_changes(
        connection,
        ledger,
        account=scope.account,
        prefix=scope.prefix,
        facets=("limits",) if limits else FACETS,
        since=span.since,
        until=span.until,
    ) as changes:
        yield changes


def _write(
    kind: Kind,
    ledger: str,
    span: Span,
    scope: Scope,
    within: Period,
    reading: Reading[Iterator[Any]],
    form: Format,
    *,
    minor_units: bool,
) -> None:
    rows = reading.found
    written: Form
    if kind == "changes":
        written, totals = ChangesForm(_CHANGES, minor_units=minor_units), None
    else:
        once = _OF_TRANSACTION if kind == "journal" else frozenset[str]()
        is_summed = kind == "activity" or scope.segments is not None
        written = AmountsForm(COLUMNS[kind], once, is_summed, minor_units)
        totals = Totals(COLUMNS[kind]) if kind in ("journal", "trial-balance") else None
    stated = _stated(kind, ledger, span, scope, within, reading, minor_units=minor_units)
    counted = rows if totals is None else totals.counting(rows)
    write(written, form, stated, counted, list[Any] if totals is None else totals.rows)


def _stated(
    kind: Kind,
    ledger: str,
    span: Span,
    scope: Scope,
    within: Period,
    reading: Reading[Any],
    *,
    minor_units: bool,
) -> Stated:
    of = next((f", {name} {value}" for name, value in scope._asdict().items() if value is not None), "")
    units = "in minor units" if minor_units else "in units of their asset"
    title = f"{_TITLES[kind]} of {ledger}{of}, {within.words}, by {span.clock} time; amounts {units}"
    lacking = reading.lacking.streams
    reflects = f"position {reading.position} of {reading.head}"
    if lacking:
        reflects += f"; {lacking} streams are held behind dead letters and lack their last events"
    members = {
        "report": kind,
        "ledger": ledger,
        **{name: value for name, value in scope._asdict().items() if value is not None},
        "clock": span.clock,
        "period": within.words,
        "from": within.since,
        "before": within.until,
        "position": reading.position,
        "head": reading.head,
        "held_streams": lacking,
    }
    return Stated(title, members, reflects)
