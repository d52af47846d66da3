"""The processes the supervisor keeps running.

`python -m scripts.serving.processes api FD` runs one; so do `… projector NUMBER OF` and `… publisher`. Of several API
processes, each has a side of a door too (api/service/committing/door.py): `… api FD inside FD` or `… outside FD`.
"""

import ctypes
import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import structlog

from scripts.serving.surroundings import INSTALLATION, LIFELINE, SIBLINGS

if TYPE_CHECKING:
    from api.settings import Settings
    from projections.witnessing.sources import Source

GRACE_SECONDS = 10
# A batch makes some hundred thousand objects and frees them all at once, without cycles. With the default threshold,
# the collector would search them again and again and take a third of the time.
COLLECT_AFTER_OBJECTS = 1_000_000
PROJECTOR_NICENESS = 10
KEPT_BYTES = 64 * 1024 * 1024
KEPT_PIECE_BYTES = 32 * 1024 * 1024
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEEP_ALIVE_SECONDS = 65
BACKLOG = 2048


def main() -> None:
    """Run the process named on the command line."""
    kind = sys.argv[1] if len(sys.argv) > 1 else "worker"
    configure_logging(f"{kind} {os.environ[INSTALLATION]}" if INSTALLATION in os.environ else kind)
    hold_lifeline()
    keep_freed_memory()
    match sys.argv[1:]:
        case ["api", listening]:
            run_api(int(listening))
        case ["api", listening, "inside" | "outside" as side, door]:
            run_api(int(listening), int(door), is_inside=side == "inside")
        case ["projector", number, shares]:
            run_projector(int(number), int(shares))
        case ["publisher"]:
            run_publisher()
        case ["simulator", listening, callback_url]:
            run_simulator(int(listening), callback_url)
        case unknown:
            raise ValueError(f"there is no process called {unknown}")


def configure_logging(process: str = "service") -> None:
    """Log lines of JSON to standard error. At a terminal, log coloured text instead.

    Each line names its process. Warnings of libraries and uncaught exceptions are logged the same way.
    """
    render: Any = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )

    def name_process(
        _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        return {**event, "process": event.get("process", process)}

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        name_process,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    # psycopg warns of each lost connection. The code that handles the loss logs it once.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)
    log = structlog.get_logger(__name__)
    sys.excepthook = lambda _, error, __: log.critical("ended by an exception", exc_info=error)
    threading.excepthook = lambda args: log.critical(
        "a thread was ended by an exception", thread=args.thread and args.thread.name, exc_info=args.exc_value
    )


def hold_lifeline() -> None:
    """End this process when its parent dies: only the parent holds the other end of the pipe."""
    descriptor = os.environ.pop(LIFELINE, None)
    if descriptor is None:
        return

    def wait_for_end() -> None:
        while os.read(int(descriptor), 1):
            pass
        os._exit(1)

    threading.Thread(target=wait_for_end, name="lifeline", daemon=True).start()


def keep_freed_memory() -> None:
    """Make the C library keep freed memory, up to a bound, for later allocations.

    By default it returns large pieces at once, and each batch of some megabytes takes its pages anew. That costs an
    eighth of the API process's time for a batch of 1,000. Nothing changes where the library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, KEPT_PIECE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)


def run_api(listening: int, door: int | None = None, *, is_inside: bool = False) -> None:
    """Serve HTTP on the parent's listening socket until SIGTERM. Of several, that inside the door commits for all."""
    import uvicorn

    from api.app import create_app
    from api.service.committing.door import inherited
    from api.settings import Settings
    from scripts.serving.connection_limits import Connections, bound_of_connections
    from scripts.serving.http_protocol import WholeAnswers
    from scripts.serving.telemetry import start_tracer

    config = uvicorn.Config(
        create_app(
            Settings(),
            start_tracer("api", os.environ),
            None if door is None else inherited(door, is_inside=is_inside),
        ),
        loop="uvloop",
        http=cast(Any, partial(WholeAnswers, Connections(bound_of_connections()))),
        ws="none",
        lifespan="on",
        log_config=None,  # configured above for all libraries
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here uses what a proxy says about the client
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=listening)])


def run_simulator(listening: int, callback_url: str) -> None:
    """Run the simulated provider on the parent's listening socket until SIGTERM."""
    from scripts.serving.simulator_beside import simulator

    stopped = _stopped_by_signal()
    running = simulator(listening, callback_url)
    running.start()
    stopped.wait()
    running.stop()


def run_projector(number: int = 0, shares: int = 1) -> None:
    """Advance projections until SIGTERM: those of one of several shares, counted from 0, or all."""
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    # Requests have priority, because a client waits for the answer. A projection that falls behind meanwhile reports it
    # and catches up many times faster than a saturated machine can write.
    os.nice(PROJECTOR_NICENESS)
    from api.settings import Settings
    from projections.running.projector import run_projector as run
    from projections.running.shares import Share
    from scripts.serving.telemetry import start_tracer

    settings, stop, tracer = Settings(), _stopped_by_signal(), start_tracer("projector", os.environ)
    run(
        settings.database,
        stop,
        signing_seeds=settings.signing_seeds,
        tracer=tracer,
        share=Share(number, shares),
        witnessed=_witnessed(settings),
        witness_seconds=settings.witness_seconds,
    )
    if tracer is not None:
        tracer.close()


def _witnessed(settings: "Settings") -> "list[Source]":
    """Return the logs to look at: those of the other installations of a placement, and of the services named."""
    from domain.journal.database import Database
    from projections.witnessing.service_log import ServiceLog
    from projections.witnessing.sources import DatabaseLog

    if not settings.witness_seconds:
        return []
    siblings = json.loads(os.environ.get(SIBLINGS, "{}"))
    return [
        *(
            DatabaseLog(name, Database(place["database_url"], place["schema"]))
            for name, place in siblings.items()
        ),
        *(ServiceLog(name, service) for name, service in settings.witnessed.items()),
    ]


def run_publisher() -> None:
    """Deliver webhooks until SIGTERM. Also publish to NATS if a broker is configured."""
    os.nice(PROJECTOR_NICENESS)
    from api.settings import Settings
    from projections.outbox.publisher import run_publisher as run
    from scripts.serving.telemetry import start_tracer

    settings, stop, tracer = Settings(), _stopped_by_signal(), start_tracer("publisher", os.environ)
    publishing_to_nats = None
    if settings.streaming is not None:
        from projections.outbox.jetstream import run_jetstream

        arguments = (settings.database, stop, settings.streaming, tracer)
        publishing_to_nats = threading.Thread(target=run_jetstream, args=arguments, name="nats")
        publishing_to_nats.start()
    run(settings.database, stop, settings.publishing, tracer)
    if publishing_to_nats is not None:
        publishing_to_nats.join()
    if tracer is not None:
        tracer.close()


def _stopped_by_signal() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


if __name__ == "__main__":
    main()
