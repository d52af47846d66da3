"""The installation a command works on directly, served or not: its options and a connection to it.

No API key is needed, because access to the database already allows everything.
"""

import os
import pwd
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, NamedTuple, TypeVar
from uuid import UUID, uuid4

import psycopg
import structlog
import typer
from psycopg import Connection

from domain.journal.database import Database
from domain.journal.reader import head_of, read_aggregates
from domain.journal.trouble import trouble_of
from domain.model.errors import LedgerError, LedgerMoved, LedgerMoving, Unavailable
from domain.model.events import Context
from domain.model.ids import is_id
from domain.model.installation.keys import AT_A_TERMINAL
from domain.model.streams import account_stream, ledger_stream
from projections.running.places import is_standby
from scripts.console import fail, settings_or_exit
from scripts.endings import ERRORS, USAGE
from scripts.serving.database import chosen, connected, existing
from scripts.table import cell

if TYPE_CHECKING:
    from api.settings import Settings

Said = TypeVar("Said")
Said_co = TypeVar("Said_co", covariant=True)
Item = TypeVar("Item")

DatabaseUrl = Annotated[
    str | None,
    typer.Option(help="The PostgreSQL to use; also TALLYSTICK_DATABASE_URL [the embedded one]"),
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Directory of the embedded PostgreSQL; also TALLYSTICK_DATA_DIR [.tallystick]"),
]
Schema = Annotated[
    str | None,
    typer.Option(help="Schema of the installation; also TALLYSTICK_SCHEMA [tallystick]"),
]
InstallationName = Annotated[
    str | None,
    typer.Option(
        "--installation",
        help="The installation of a placement (TALLYSTICK_INSTALLATIONS), needed where there are several",
    ),
]


Reason = Annotated[str, typer.Option(help="Why; stored with the decision.")]

MAX_REASON_LENGTH = 500


def id_as_shown(text: str) -> UUID:
    """Return an id, read as the API reads it, in no other form than it is shown in; refuse others as wrong use."""
    if not is_id(text):
        raise typer.BadParameter(f"{text!r} is no id such as 0b2f7c1e-8d3a-5b6f-9c0d-1e2f3a4b5c6d")
    return UUID(text)


def reason_in_words(reason: str) -> None:
    """Raise `typer.BadParameter` for a reason that is blank or too long."""
    if not reason.strip():
        raise typer.BadParameter("the reason must not be blank", param_hint="--reason")
    if len(reason) > MAX_REASON_LENGTH:
        raise typer.BadParameter(f"at most {MAX_REASON_LENGTH} characters are kept", param_hint="--reason")


@contextmanager
def service_connection(
    command: str,
    database_url: str | None,
    data_dir: Path | None,
    schema: str | None,
    installation: str | None = None,
    *,
    as_owner: bool = False,
) -> Iterator[Connection[Any]]:
    """A connection with the rights of the service. If there is none to be had, this says why and exits 3.

    With `as_owner` it has the rights of the login instead. `installation` is as for `service_database`.
    """
    with service_database(database_url, data_dir, schema, installation) as database:
        connect = database.connect_as_owner if as_owner else database.connect
        with connect(f"tallystick {command}") as connection:
            yield connection


@contextmanager
def service_database(
    database_url: str | None,
    data_dir: Path | None,
    schema: str | None,
    installation: str | None = None,
) -> Iterator[Database]:
    """The database of an existing installation. If it cannot be used, this says why and exits 3.

    `installation` is its name in a placement. If there are several and none is named, this lists them and exits 2.

    If the server is a standby, this says so, and how far its copy is.
    """
    settings = existing_settings(database_url, data_dir, schema)
    with connected(settings, only(settings, installation)) as database:
        with database.connect("tallystick standby") as connection:
            _tell_of(_copied(connection, None))
        yield database


def existing_settings(database_url: str | None, data_dir: Path | None, schema: str | None) -> "Settings":
    """Return the settings of a command on what exists. If the embedded database was never made, exit 3."""
    # Standard output carries only the command's result, so logs go to standard error.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    settings = settings_or_exit(database_url=database_url, data_dir=data_dir, schema_=schema)
    if settings.needs_embedded:
        existing(settings.data_dir)
    return settings


def only(settings: "Settings", installation: str | None) -> str:
    """Return the name of the one installation to work on. If there are several and none is named, exit 2.

    A command that acts must not guess which of them is meant.
    """
    names = [found.name for found in settings.placed("")]
    if installation is None and len(names) > 1:
        message = f"there are several installations; name one with --installation: {', '.join(names)}"
        typer.echo(f"tallystick: {message}", err=True)
        raise typer.Exit(USAGE)
    return names[0] if installation is None else installation


def installation_names(database_url: str | None, data_dir: Path | None, schema: str | None) -> Sequence[str]:
    """Return the names of the installations of the placement that a command works on, home's first.

    Without a placement there are none.
    """
    settings = existing_settings(database_url, data_dir, schema)
    return [found.name for found in settings.placed("")] if settings.is_placement else []


class Asked(NamedTuple, Generic[Said_co]):
    """What installations said, each with its name, None without a placement; and why the others could not answer.

    `copies` has the newest position of those that were read from a standby: they say nothing of what comes after it.
    """

    said: Sequence[tuple[str | None, Said_co]]
    unanswered: Mapping[str, str]
    copies: Mapping[str | None, int]

    @property
    def by_name(self) -> dict[str, Said_co]:
        """What the installations of a placement said, by name."""
        return {name: said for name, said in self.said if name is not None}

    def listed(
        self: "Asked[Sequence[Item]]", show: Callable[[Item], Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Return the items of lists as they are shown, each with its installation in a placement."""
        return [
            {**({} if name is None else {"installation": name}), **show(item)}
            for name, items in self.said
            for item in items
        ]

    def columns(self, columns: Sequence[str]) -> Sequence[str]:
        """Return the columns of a table, after that of the installation in a placement."""
        return columns if self.said[0][0] is None else ("installation", *columns)

    def table(self, columns: Sequence[str], items: Sequence[Mapping[str, Any]]) -> list[Sequence[str]]:
        """Return the rows of a table of items, headed by the columns."""
        named = self.columns(columns)
        return [named, *([cell(item[name]) for name in named] for item in items)]

    def tell(self) -> None:
        """Say which installations could not answer, and why. If any could not, exit 3: what was printed lacks them.

        Also say which were read from a standby, and how far: nobody must take for missing what has not arrived there.
        """
        _tell_of(self.copies)
        for name, why in self.unanswered.items():
            typer.echo(f"tallystick: {name} could not answer: {why}", err=True)
        if self.unanswered:
            raise typer.Exit(ERRORS)


def ask_each(
    command: str,
    database_url: str | None,
    data_dir: Path | None,
    schema: str | None,
    installation: str | None,
    ask: Callable[[Connection[Any]], Said],
    away: Collection[str] = (),
) -> Asked[Said]:
    """Return what the installations of a placement say, or the one that is named: each is asked on a connection.

    Without a placement, the installation is asked. Those that are known to be `away` are passed over: to wait for them
    again takes long. If none can be used, this says why and exits 3.
    """
    settings = existing_settings(database_url, data_dir, schema)
    if not settings.is_placement:
        with connected(settings) as database, database.connect(f"tallystick {command}") as connection:
            copies = _copied(connection, None)
            return Asked([(None, ask(connection))], {}, copies)
    said: list[tuple[str | None, Said]] = []
    unanswered: dict[str, str] = {}
    copies = {}
    with chosen(settings, installation) as placed:
        for name, database in placed:
            if name in away:
                continue
            try:
                with database.connect(f"tallystick {command}") as connection:
                    copied = _copied(connection, name)
                    said.append((name, ask(connection)))
                    copies |= copied
            except psycopg.Error as error:
                unanswered[name] = trouble_of(error, database).words
            except Unavailable as refusal:
                unanswered[name] = refusal.detail
    asked = Asked(said, unanswered, copies)
    if not said:
        asked.tell()
    return asked


def _tell_of(copies: Mapping[str | None, int]) -> None:
    """Say which installations were read from a standby, and how far their copies are."""
    for of, position in copies.items():
        which = "" if of is None else f"{of}: "
        words = f"read from a standby, up to position {position}: its primary may have recorded more"
        typer.echo(f"tallystick: {which}{words}", err=True)


def _copied(connection: Connection[Any], name: str | None) -> dict[str | None, int]:
    """Return the newest position of an installation by its name if the server is a standby, else nothing."""
    return {name: head_of(connection)} if is_standby(connection) else {}


def require(
    connection: Connection[Any], ledger: str, account: str | None = None, *, may_have_left: bool = False
) -> None:
    """Exit 3 unless the journal has this ledger and account, so that a misspelt name is not taken for an empty one.

    Exit 3 too if the ledger is in another installation, unless it `may_have_left`: what is here ends with its move.
    """
    wanted = [ledger_stream(ledger), *([account_stream(ledger, account)] if account else [])]
    try:
        states, _ = read_aggregates(connection, wanted, None if may_have_left else ledger)
    except (LedgerMoved, LedgerMoving) as refusal:
        fail(absence_of(ledger, refusal))
    for stream, state in zip(wanted, states, strict=True):
        if state is None:
            missing = (
                f"account {account} in the ledger {ledger}" if "/accounts/" in stream else f"ledger {ledger}"
            )
            fail(f"{missing.partition(' ')[0]}_not_found: there is no {missing}")


def absence_of(ledger: str, refusal: LedgerError) -> str:
    """Return in words that a ledger has left the installation that was asked, or has not arrived there."""
    if isinstance(refusal, LedgerMoved):
        return f"{refusal.code}: {ledger} has moved to {refusal.details['installation']}: ask there"
    return f"{refusal.code}: {ledger} has not arrived here yet"


def operator() -> Context:
    """Return the context to record: the user at this terminal as the actor, and a new correlation id."""
    # From the operating system, because the environment can claim any name.
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's user need not have a name
        name = f"user {os.geteuid()}"
    return Context(f"{name}{AT_A_TERMINAL}", str(uuid4()))
