"""`tallystick doctor`: the command and its list of checks."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console

from domain.journal.database import Database
from domain.journal.trouble import trouble_of
from domain.placement.installations import Installation
from scripts.commands.installation import DatabaseUrl, DataDir, InstallationName, Schema
from scripts.doctor import (
    backups,
    bridges,
    installation,
    journal,
    moves,
    outbox,
    placements,
    projections,
    server,
    standbys,
    witnesses,
)
from scripts.doctor.examination import SQL, Check, Examined, Scope, examine, read_only
from scripts.doctor.finding import Finding
from scripts.doctor.report import Report, as_json, exit_code, show
from scripts.serving.database import chosen, existing

OF_THE_SERVER = (
    Check("the schema fits this release", installation.schema),
    Check("settings are durable", server.durability),
    Check("this server is the primary", installation.vantage),
    Check("the log is archived", backups.archive),
    Check("standbys have what is acknowledged", standbys.acknowledged),
    Check("there is room", server.room),
    Check("no session blocks others", server.sessions),
    Check("vacuum keeps up", server.vacuum),
)
OF_HOME = (Check("a key is valid", installation.keys),)
OF_THE_INSTALLATION = (
    Check("the service has its rights", installation.service_rights),
    Check("nothing blocks the service", server.blockers),
    Check("the journal is protected", installation.protection),
    *OF_HOME,
    Check("no move was cut off", installation.moves),
    Check("clocks agree", server.clocks),
    Check("projections advance", projections.standing),
    Check("no event is a dead letter", projections.letters),
    Check("debits = credits in projections", projections.sums),
    Check("webhook deliveries arrive", outbox.deliveries),
    Check("the broker answers", outbox.broker),
    Check("due work is done", journal.overdue),
    Check("no witnessed log contradicts itself", witnesses.witnessed),
    Check("positions and versions have no gaps", journal.extent),
    Check("the journal keeps its rules", journal.rules),
    Check("snapshots match events", journal.snapshots),
    Check("bridges cancel out", bridges.agreement),
    *projections.comparisons(),
)
"""The checks that need a schema."""

DEFAULT_TIMEOUT_SECONDS = 60.0
DEFAULT_TIMEOUT_OF_ALL_SECONDS = 3600.0


def doctor(
    whole: Annotated[
        bool, typer.Option("--all", help="Check the whole journal against every projection, not a sample")
    ] = False,
    sample_events: Annotated[
        int, typer.Option(min=1, help="Size of the sample: the newest and randomly drawn events")
    ] = 500,
    seed: Annotated[int | None, typer.Option(help="Repeat the sample drawn with this seed")] = None,
    timeout_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Time limit of one check [60; 3600 with --all]")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object, for programs")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Examine an installation, or every one of a placement. Changes nothing; the service may be running.

    Each finding has a stable code and says what was found, why it matters and what to do. An installation that cannot
    be reached is a finding too. Exit codes: 0 no finding, 1 warnings only, 2 wrong usage, 3 errors.
    """
    from scripts.console import settings_or_exit
    from scripts.serving.embedded_postgres import EmbeddedPostgresError, attached

    settings = settings_or_exit(database_url=database_url, data_dir=data_dir, schema_=schema)
    if settings.needs_embedded:
        existing(settings.data_dir)
    scope = Scope(whole, sample_events, secrets.randbelow(2**31) if seed is None else seed)
    timeout = timeout_seconds or (DEFAULT_TIMEOUT_OF_ALL_SECONDS if whole else DEFAULT_TIMEOUT_SECONDS)
    try:
        with ExitStack() as stack:
            if settings.needs_embedded:
                stack.enter_context(attached(settings.data_dir))
            placed = stack.enter_context(chosen(settings, installation))
            names = [each.name for each in settings.placed("")] if settings.is_placement else []
            home = settings.placed("")[0].name
            reports = [
                _report(each, scope, timeout, is_home=each.name == home, names=names) for each in placed
            ]
            if len(placed) > 1:
                reports[0].examined.append(placements.examined(placed, timeout))
                reports[0].examined.append(bridges.between([of.database for of in placed], timeout))
                reports[0].examined.append(moves.between(placed, timeout))
    except EmbeddedPostgresError as error:
        reports = [Report(_unreachable(str(error)), {})]
    if not settings.is_placement:
        reports = [report._replace(installation=None) for report in reports]
    if json:
        typer.echo(as_json(reports, scope))
    else:
        show(reports, scope, Console(highlight=False))
    raise typer.Exit(max(exit_code(report.examined) for report in reports))


def _report(
    installation: Installation, scope: Scope, timeout_seconds: float, *, is_home: bool, names: Sequence[str]
) -> Report:
    name, database = installation
    facts: dict[str, Any] = {}
    try:
        facts = facts_of(database)
        examined = list(examinations(database, scope, timeout_seconds, is_home=is_home, names=names))
    except psycopg.Error as error:
        examined = _unreachable(trouble_of(error, database).words)
    return Report(examined, facts, name)


def _unreachable(words: str) -> list[Examined]:
    return [Examined("the database answers", [Finding("database_unreachable", words)], 0.0)]


def examinations(
    database: Database,
    scope: Scope,
    timeout_seconds: float,
    *,
    is_home: bool = True,
    names: Sequence[str] = (),
) -> Iterator[Examined]:
    """Run the checks in order. Those that need a schema are skipped if there is none.

    Only the home of a placement has keys and the map to be examined. `names` are the installations of the placement.
    """
    of_the_map = Check("every installation of the map is named", partial(installation.named, names=names))
    codes: set[str] = set()
    for check in OF_THE_SERVER:
        examined = examine(database, check, scope, timeout_seconds)
        yield examined
        codes |= {finding.code for finding in examined.findings}
        if {"schema_missing", "schema_closed"} & codes:
            return
    for check in (*OF_THE_INSTALLATION, *([of_the_map] if is_home and names else [])):
        if check in OF_HOME and not is_home:
            continue
        examined = examine(database, check, scope, timeout_seconds)
        if {"migrations_pending", "projection_tables_missing"} & codes and examined.lacks_migration:
            continue  # already reported as pending migrations, or as missing tables
        codes |= {finding.code for finding in examined.findings}
        if "service_lacks_rights" in codes and examined.lacks_right:
            continue  # already reported as a missing right
        yield examined


def facts_of(database: Database) -> dict[str, Any]:
    """Return the facts shown with every report, by name: version, sizes and newest position."""
    with read_only(database) as connection:
        version, size_bytes, connections = SQL["facts"].only(connection)
        facts = {
            "schema": database.schema,
            "PostgreSQL": version,
            "database size in MB": round(size_bytes / 1e6),
            "connections in use": connections,
        }
        # Other checks report rights that the login lacks.
        with suppress(psycopg.errors.InsufficientPrivilege):
            if SQL["has_table"].row(connection, {"table": "head"}) == (True,):
                (position,) = SQL["head"].only(connection)
                facts["newest position"] = position
    return facts
