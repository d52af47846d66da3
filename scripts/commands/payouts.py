"""`tallystick payouts`: list, show, reconcile, complete and fail payouts, directly on the database."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

import typer
from psycopg import Connection

from api.resources.payouts.schemas import payout_body
from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.journal.reader import read_aggregates
from domain.model.errors import InvalidRequest, LedgerError, PayoutNotFound
from domain.model.payouts.payout import Payout, PayoutState
from domain.model.payouts.resolutions import (
    MAY_HAVE_LEFT,
    CompletePayout,
    FailPayout,
    ReconcilePayout,
    Resolution,
)
from domain.model.registry import EVENT_SCHEMA_FINGERPRINT
from domain.model.streams import is_ledger_name, payout_stream
from domain.placement.ledger_map import held
from projections.diagnosis.glossary import term
from projections.process_managers.payer import new_nonce
from projections.read_models.payouts import PROJECTION, PayoutFilters, list_payouts
from projections.running.places import Place, holders
from scripts.commands.installation import (
    DatabaseUrl,
    DataDir,
    InstallationName,
    Reason,
    Schema,
    id_as_shown,
    operator,
    reason_in_words,
    require,
    service_connection,
    service_database,
)
from scripts.console import fail
from scripts.endings import warn
from scripts.table import cell, print_aligned

payouts = typer.Typer(help="List, show and resolve payouts, directly on the database.", no_args_is_help=True)

Id = Annotated[
    UUID,
    typer.Argument(
        parser=id_as_shown, metavar="ID", help="The id of the payout, from `tallystick payouts list`."
    ),
]
InLedger = Annotated[str | None, typer.Option(help="The ledger of the payout [all are searched].")]

PAYER: Place = ("pay", f"{PROJECTION.name}/{EVENT_SCHEMA_FINGERPRINT}")
AT_ONCE = 1_000

_COLUMNS = ("id", "ledger", "state", "account", "amount", "asset", "provider", "attempts", "accepted_at")


@payouts.command("list")
def list_some(
    ledger: InLedger = None,
    state: Annotated[
        PayoutState | None, typer.Option(help="Only those in this state, such as in_doubt")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array, for programs")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """List payouts by ledger and by when they were requested."""
    with service_connection("payouts", database_url, data_dir, schema, installation) as connection:
        try:
            names = _ledgers(connection, ledger)
            found = [payout_body(payout) for name in names for payout in _listed(connection, name, state)]
        except LedgerError as refusal:
            fail(refusal.detail)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        rows: list[dict[str, Any]] = [dict(payout) for payout in found]
        print_aligned([_COLUMNS, *([cell(row[name]) for name in _COLUMNS] for row in rows)])


@payouts.command()
def show(
    id: Id,
    ledger: InLedger = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Show a payout with its history, read from the journal, as JSON."""
    with service_connection("payouts", database_url, data_dir, schema, installation) as connection:
        payout = _found(connection, id, ledger)
    typer.echo(json.dumps(payout_body(payout), indent=2))


@payouts.command()
def reconcile(
    id: Id,
    ledger: InLedger = None,
    reason: Annotated[str, typer.Option(help="Why; stored with the decision.")] = "",
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Ask the provider for the outcome of a payout at once. A running service does it; exits 1 if none is running."""
    with service_database(database_url, data_dir, schema, installation) as database:
        _resolve(database, id, ledger, ReconcilePayout, reason)
        with database.connect("tallystick payouts") as connection:
            is_pursued = holders(connection, [PAYER])
    if not is_pursued:
        warn("nobody asks providers: start `tallystick serve`, with this provider configured")


@payouts.command()
def complete(
    id: Id,
    reason: Reason,
    ledger: InLedger = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Record that the money of a payout has left and settle its hold. Idempotent."""
    reason_in_words(reason)
    with service_database(database_url, data_dir, schema, installation) as database:
        _resolve(database, id, ledger, CompletePayout, reason)


@payouts.command("fail")
def fail_one(
    id: Id,
    reason: Reason,
    ledger: InLedger = None,
    confirm: Annotated[
        Literal["not-paid"] | None,
        typer.Option(
            help="Needed while submitted or in doubt: confirms that the provider's books show no payment"
        ),
    ] = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Record that the money of a payout has not left and never will, and give it back to the account. Idempotent.

    While the payout is submitted or in doubt, the money may have left. The command then asks for confirmation at a
    terminal and needs --confirm not-paid anywhere else.
    """
    reason_in_words(reason)
    with service_database(database_url, data_dir, schema, installation) as database:
        with database.connect("tallystick payouts") as connection:
            seen = _found(connection, id, ledger)
        confirmed = confirm is not None or (seen.state in MAY_HAVE_LEFT and _confirmed(seen))
        _resolve(database, id, seen.ledger, partial(FailPayout, confirmed=confirmed), reason)


def is_at_a_terminal() -> bool:
    """Tell whether a person can answer."""
    return sys.stdin.isatty()


def _confirmed(payout: Payout) -> bool:
    """Ask for confirmation at a terminal. Elsewhere return False."""
    if not is_at_a_terminal():
        return False
    question = (
        f"The payout is {term('payout', payout.state).words}. Its {payout.amount} minor units of {payout.asset}"
        f" may have left. Do the books of {payout.provider} show that they have not, and will not?"
    )
    return typer.confirm(question, err=True)


def _resolve(
    database: Database, id: UUID, ledger: str | None, command: Callable[..., Resolution], reason: str
) -> None:
    with database.connect("tallystick payouts") as connection:
        seen = _found(connection, id, ledger)
    try:
        with LedgerApplication(database) as writer:
            writer.start()
            resolved = writer.perform(command(operator(), seen, new_nonce(), reason)).state
    except InvalidRequest as refusal:
        (wrong,) = refusal.errors
        fail(f"--confirm {wrong['detail']} Then give --confirm not-paid.")
    except LedgerError as refusal:
        fail(refusal.detail)
    assert isinstance(resolved, Payout)
    typer.echo(f"The payout {id} of {resolved.ledger} is {term('payout', resolved.state).words}.")


def _found(connection: Connection[Any], id: UUID, ledger: str | None) -> Payout:
    """Return a payout as the journal has it. If there is none, say so and exit 3."""
    try:
        streams = [payout_stream(name, str(id)) for name in _ledgers(connection, ledger)]
        states, _ = read_aggregates(connection, streams)
    except LedgerError as refusal:
        fail(refusal.detail)
    found = next((state for state in states if state is not None), None)
    if found is None:
        fail(f"{PayoutNotFound().detail} ({id})")
    if not isinstance(found, Payout):
        fail(f"a newer release has written to the payout {id}: use that one")
    return found


def _ledgers(connection: Connection[Any], ledger: str | None) -> Sequence[str]:
    if ledger is None:
        return held(connection)
    if not is_ledger_name(ledger):
        raise typer.BadParameter("is not a ledger name", param_hint="--ledger")
    require(connection, ledger)
    return [ledger]


def _listed(connection: Connection[Any], ledger: str, state: PayoutState | None) -> Iterator[Payout]:
    after: int | None = None
    while rows := list_payouts(connection, ledger, PayoutFilters(state), after=after, limit=AT_ONCE).rows:
        yield from rows
        after = rows[-1].made_position
