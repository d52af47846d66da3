"""`tallystick serve`: the whole service with one command."""

import contextlib
import errno
import http.client
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from domain.release import ROOT
from scripts.console import fail, settings_or_exit
from scripts.serving.surroundings import INSTALLATION, SIBLINGS

if TYPE_CHECKING:
    from api.settings import Settings
    from domain.journal.database import Database
    from domain.placement.installations import Installation
    from scripts.serving.embedded_postgres import EmbeddedPostgres

# Workers of a killed parent may hold the port for a moment.
BIND_TIMEOUT_SECONDS = 5.0
DATABASE_TIMEOUT_SECONDS = 10.0
SAY_SECONDS = 3.0
MAX_WITNESSED_SIBLINGS = 4
# The API drains for 10 s (scripts/serving/processes.py). With PostgreSQL's fast shutdown everything ends within 20 s.
API_STOP_TIMEOUT_SECONDS = 12.0
PROJECTOR_STOP_TIMEOUT_SECONDS = 4.0


def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on [8000]")] = None,
    database_url: Annotated[
        str | None, typer.Option(help="The PostgreSQL to use [an embedded one in the data directory]")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Directory of the embedded PostgreSQL [.tallystick]")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="The number of API processes [1]")] = None,
    projectors: Annotated[
        int | None, typer.Option(help="The number of projector processes [half the processors, 1 to 4]")
    ] = None,
    schema: Annotated[str | None, typer.Option(help="The schema of this installation [tallystick]")] = None,
    projector: Annotated[
        bool, typer.Option(help="Also run the projector and the publisher, each in its own process")
    ] = True,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Only answer reads, from a hot standby or a primary")
    ] = False,
) -> None:
    """Run the ledger's service until stopped. Each option can be set in the environment too, as TALLYSTICK_PORT and so
    on.
    """
    from domain.placement.ledger_map import LedgersConflict
    from scripts.serving.database import give_up
    from scripts.serving.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError
    from scripts.serving.preparation import NothingPrepared, SameInstallation, WronglyNamed
    from scripts.serving.processes import configure_logging
    from scripts.serving.supervisor import ChildrenKeepFailing

    configure_logging()
    # Until the supervisor handles the signal: exit, and stop on the way out whatever was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = settings_or_exit(
        host=host,
        port=port,
        database_url=database_url,
        data_dir=data_dir,
        workers=workers,
        projectors=projectors,
        schema_=schema,
        of_placement=True,
        read_only=read_only or None,
    )
    if given := [] if settings.read_only else settings.given_of_replicas:
        fail(
            f"{given[0]} is for a service that only reads, and --read-only is missing: add it, or unset this"
        )
    is_named = settings.is_placement or bool(settings.database_url)
    if settings.read_only and (settings.needs_embedded or not is_named):
        fail("a service that only reads needs the database that it reads: give a --database-url")
    try:
        listening = _listen(settings.host, settings.port)
        postgres = EmbeddedPostgres(settings.data_dir) if settings.needs_embedded else None
        with contextlib.ExitStack() as stack:
            stack.callback(listening.close)
            _warn_of_open_keys(settings.host)
            if postgres:
                stack.callback(postgres.stop)
                postgres.start()
            _run(settings, listening, postgres, projector=projector)
    except EmbeddedPostgresError as error:
        give_up(str(error))
    except (LedgersConflict, WronglyNamed, SameInstallation, NothingPrepared) as error:
        fail(str(error))
    except (ChildrenKeepFailing, OSError) as error:
        fail(str(error))


def prepare(settings: "Settings", installation: "Installation", *, has_keys: bool = True) -> str | None:
    """Bring an installation up to date. Return the bootstrap key if one had to be made: it is shown only once.

    Only home `has_keys` in a placement.
    """
    import psycopg

    from api.security.keys import ensure_bootstrap_key
    from domain.journal.migrations import migrate
    from domain.journal.trouble import trouble_of
    from domain.model.errors import JournalUnavailable
    from projections.registry import install
    from scripts.serving.database import give_up

    name, database = installation
    where = f"{name} could not answer: " if settings.is_placement else ""
    began, say_at = monotonic(), 0.0
    while True:
        try:
            migrate(database)
            install(database)
            return ensure_bootstrap_key(database, settings.bootstrap_key) if has_keys else None
        except psycopg.Error as error:
            trouble = trouble_of(error, database)
            if not trouble.may_pass or monotonic() > began + DATABASE_TIMEOUT_SECONDS:
                give_up(where + trouble.words)
            if monotonic() > say_at:
                say_at = monotonic() + SAY_SECONDS
                structlog.get_logger(__name__).warning(
                    "waiting for the database", error=where + trouble.words
                )
            sleep(0.2)
        except JournalUnavailable:
            if monotonic() > began + DATABASE_TIMEOUT_SECONDS:
                fail("another session holds the journal's lock, so the bootstrap key cannot be recorded")


def _prepare_all(
    settings: "Settings", placed: "Sequence[Installation]", show_key: Callable[[str], None]
) -> Callable[[str], bool]:
    """Bring every installation up to date. Return a function that tells whether the one of a name is.

    In a placement, one that is away is waited for in the background. Its processes start once it is prepared.
    """
    from api.security.keys import ensure_bootstrap_key
    from scripts.serving.preparation import Preparation

    def prepare_keys(database: "Database") -> None:
        if made_key := ensure_bootstrap_key(database, settings.bootstrap_key):
            show_key(made_key)

    if not settings.is_placement:
        if made_key := prepare(settings, placed[0]):
            show_key(made_key)
        return lambda name: True
    preparation = Preparation(placed, prepare_keys)
    preparation.start(DATABASE_TIMEOUT_SECONDS)
    return preparation.is_prepared


def _run(
    settings: "Settings", listening: socket.socket, postgres: "EmbeddedPostgres | None", *, projector: bool
) -> None:
    from scripts.serving.readable import require_readable
    from scripts.serving.simulator_beside import PROVIDERS, simulator_beside
    from scripts.serving.supervisor import Child, Supervisor
    from scripts.serving.surroundings import of_process, of_simulator
    from scripts.serving.telemetry import is_possible, is_wanted

    placed = settings.placed(postgres.url if postgres else None)
    address = f"http://{_bracketed(settings.host)}:{listening.getsockname()[1]}"
    if settings.read_only:
        require_readable(placed)
    # Shown at once: whatever ends this start before it is ready, the key is made and never shown again.
    is_prepared = (
        (lambda name: True)
        if settings.read_only
        else _prepare_all(settings, placed, partial(_show_key, address))
    )
    # Judged here, so that what is wrong is said once for all processes.
    is_traced = is_wanted(os.environ) and is_possible(os.environ)
    local_address = f"http://{_bracketed(_local(settings.host))}:{listening.getsockname()[1]}"
    with contextlib.ExitStack() as stack:
        environment = stack.enter_context(_environment(settings))
        api = [sys.executable, "-m", "scripts.serving.processes", "api", str(listening.fileno())]

        def environment_of(process: str, *installations: "Installation") -> dict[str, str]:
            is_embedded = postgres is not None and any(
                of.database.url == postgres.url for of in installations
            )
            surroundings = of_process(process, os.environ, is_embedded=is_embedded, is_traced=is_traced)
            return surroundings | environment | places(process, settings, installations, placed)

        of_api, simulators = environment_of("api", *placed), []
        if postgres and not settings.providers:
            # For trials only: with the operator's own database, no simulator ever reports a payout as paid.
            surroundings = of_simulator(os.environ) | {"PYTHONPATH": environment["PYTHONPATH"]}
            simulator, simulated, of_api[PROVIDERS] = simulator_beside(local_address, surroundings)
            stack.enter_context(simulated)
            simulators.append(simulator)
        children = [
            Child(
                f"api {n + 1}",
                [*api, *door],
                of_api,
                [listening.fileno(), *map(int, door[1:])],
                stop_timeout_seconds=API_STOP_TIMEOUT_SECONDS,
                group="api",
            )
            for n, door in enumerate(_doors(settings, stack))
        ]
        for installation in placed if projector and not settings.read_only else ():
            shares = settings.projectors_each
            of = [installation.name] if settings.is_placement else []
            followers = [["projector", str(number), str(shares)] for number in range(shares)]
            children += [
                Child(
                    " ".join([name, *of, *([str(int(place[0]) + 1)] if place and shares > 1 else [])]),
                    [sys.executable, "-m", "scripts.serving.processes", name, *place],
                    environment_of(name, installation),
                    stop_timeout_seconds=PROJECTOR_STOP_TIMEOUT_SECONDS,
                    group="projector",
                    may_start=partial(is_prepared, installation.name),
                )
                for name, *place in [*followers, ["publisher"]]
            ]

        def is_ready() -> bool:
            return _answers(settings.host, listening.getsockname()[1])

        def announce() -> None:
            _announce(address, postgres.data_dir if postgres else None)

        Supervisor([*children, *simulators], postgres, is_ready, announce).run()


def _doors(settings: "Settings", stack: contextlib.ExitStack) -> list[list[str]]:
    """Return for each API process which side of the door it has: the first is inside. One alone has no door."""
    from api.service.committing.door import make_door

    if settings.workers == 1 or settings.read_only:
        return [[] for _ in range(settings.workers)]
    inside, outside = map(stack.enter_context, make_door())
    others = [["outside", str(outside.fileno())] for _ in range(settings.workers - 1)]
    return [["inside", str(inside.fileno())], *others]


def places(
    process: str,
    settings: "Settings",
    installations: "Sequence[Installation]",
    placed: "Sequence[Installation]",
) -> dict[str, str]:
    """Return the settings that tell a process where its installations are.

    They also tell a follower of the journal which NATS stream is its own, and a projector where all others are.
    """
    first = installations[0]
    places = {"TALLYSTICK_DATABASE_URL": first.database.url, "TALLYSTICK_SCHEMA": first.database.schema}
    if not settings.is_placement:
        return places
    if process == "api":
        return places | {"TALLYSTICK_INSTALLATIONS": _named(installations)}
    stream = settings.stream_of(first.name)
    places |= {"TALLYSTICK_NATS_STREAM": stream.name, "TALLYSTICK_NATS_SUBJECT": stream.subject}
    siblings = {SIBLINGS: _named(witnessed_by(first, placed))}
    return places | {INSTALLATION: first.name} | (siblings if process == "projector" else {})


def witnessed_by(own: "Installation", placed: "Sequence[Installation]") -> "Sequence[Installation]":
    """Return the installations of a placement that one of them witnesses: those that follow it, as in a ring.

    So each is witnessed by as many, and the work grows with the number of installations and not with its square.
    """
    after = placed.index(own) + 1
    return [*placed[after:], *placed[: after - 1]][:MAX_WITNESSED_SIBLINGS]


def _named(installations: "Sequence[Installation]") -> str:
    """Return where some installations are, as JSON."""
    return json.dumps(
        {name: {"database_url": database.url, "schema": database.schema} for name, database in installations}
    )


@contextlib.contextmanager
def _environment(settings: "Settings") -> Iterator[dict[str, str]]:
    """Return what all children have in their environment. Command lines would be readable by every user."""
    environment = {
        "TALLYSTICK_READ_ONLY": "true" if settings.read_only else "false",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    if settings.workers == 1:
        yield environment
        return
    with tempfile.TemporaryDirectory(prefix="tallystick-metrics-") as folder:
        environment["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield environment


def _listen(host: str, port: int) -> socket.socket:
    deadline = monotonic() + BIND_TIMEOUT_SECONDS
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        try:
            listening = socket.create_server((host, port), family=family, backlog=2048)
            listening.set_inheritable(True)
            return listening
        except OSError as error:
            if error.errno != errno.EADDRINUSE or monotonic() > deadline:
                raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from error
            sleep(0.1)


def _warn_of_open_keys(host: str) -> None:
    """Warn if keys and amounts would travel unencrypted. This service has no TLS, so a proxy must provide it."""
    try:
        is_loopback = all(
            ip_address(str(found[4][0]).partition("%")[0]).is_loopback
            for found in socket.getaddrinfo(host, None)
        )
    except (OSError, ValueError):
        is_loopback = False
    if not is_loopback:
        structlog.get_logger(__name__).warning(
            "keys travel unencrypted: only a proxy that speaks TLS should reach this address", host=host
        )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _local(host: str) -> str:
    """Return the address at which this machine reaches a listener on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(_local(host), port, timeout=0.5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _show_key(address: str, made_key: str) -> None:
    typer.echo(f"API key with every role on every ledger, shown this once: {made_key}")
    typer.echo(
        f"curl -s {address}/v1/ledgers -H 'Authorization: Bearer {made_key}'"
        " -H 'Content-Type: application/json' -d '{\"name\": \"main\"}'"
    )
    sys.stdout.flush()


def _announce(address: str, data_dir: Path | None) -> None:
    typer.echo(f"Tallystick is ready on {address}" + (f" with its data in {data_dir}" if data_dir else ""))
    sys.stdout.flush()
