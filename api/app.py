"""The application: builds its parts, starts them and stops them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, NamedTuple

from pydantic_core import to_json
from starlette import routing
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from api.console.console import Console
from api.http.middleware import HttpMiddleware
from api.http.router import Router, no_path
from api.request_spans import TracedRequests
from api.resources import ENDPOINTS
from api.security.callback_signatures import Signatures
from api.service.believed_keys import BelievedKeys
from api.service.body_room import AnswerRoom, BodyRoom
from api.service.checkpoint_watch import CheckpointWatch
from api.service.committing.door import Door
from api.service.committing.passing import PassedOn, Way
from api.service.committing.taking import Committer
from api.service.connections import POOL_SIZE
from api.service.figures import FiguresReader
from api.service.installations import Installations
from api.service.key_cache import KeyCache
from api.service.metrics import Metrics
from api.service.replay_log import ReplayLog
from api.service.replica import Replica
from api.service.request_log import RequestLog
from api.service.service import Service
from api.service.writer import Writer
from api.settings import Settings
from domain.application import LedgerApplication
from domain.journal.outage import call_installation
from domain.model.payouts.bridges import BRIDGE
from domain.placement.holders import Holders
from domain.placement.installations import Installation
from domain.placement.ledger_map import LedgerMap
from domain.tracing import Tracer
from projections.process_managers.due_worker import Worker
from projections.process_managers.payer import Payer
from projections.process_managers.providers.bridge import BridgeProvider
from projections.process_managers.providers.interface import Provider
from projections.process_managers.providers.settings import make_providers
from projections.process_managers.providers.siblings import Siblings
from projections.process_managers.providers.traced import TracedProvider
from projections.running.positions import PositionWaiter

# How many long answers read at once. The other connections, and the interpreter, stay free for short answers.
STREAMS_AT_ONCE = 2


class Application:
    """The service as an ASGI application.

    FastAPI writes its OpenAPI document and does nothing else: its layers would cost as much time per request as judging
    and answering it. So it is imported when the document is first asked for. Importing it and giving it every route
    takes longer than all else that a process does before it can answer.
    """

    def __init__(
        self,
        *,
        cors_origins: Sequence[str] = (),
        lifespan: Lifespan[Any] | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._lifespan = routing.Router(lifespan=lifespan)
        edge: ASGIApp = HttpMiddleware(Router(ENDPOINTS, otherwise=Console(otherwise=no_path)))
        if tracer is not None:
            edge = TracedRequests(edge, tracer)
        if cors_origins:
            from api.http.cross_origin import CrossOrigin

            edge = CrossOrigin(edge, cors_origins)
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an HTTP request; start and stop with the server."""
        scope["app"] = self
        await (self._edge if scope["type"] == "http" else self._lifespan)(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document. The first time in a process takes about a second."""
        return _document()


@cache
def _document() -> dict[str, Any]:
    from api.http.openapi import document
    from api.resources.journal.event_document import with_events
    from api.resources.webhooks.message_document import with_messages

    return with_messages(with_events(document([endpoint.declared for endpoint in ENDPOINTS])))


def create_app(settings: Settings, tracer: Tracer | None = None, door: Door | None = None) -> Application:
    """Return the application of one process. Its lifespan opens and closes everything that it uses, the tracer too.

    `door` is this process's side of the door between several, of which one commits for all.
    Raises `ValueError` if the settings name no database.
    """
    placed = settings.placed()

    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[dict[str, Any]]:
        shared = _shared(settings, placed, cache(lambda: to_json(app.openapi())), tracer)
        together = _together(door, shared.applications) if door else None
        installations = _start(settings, placed, shared)
        if together is not None:
            together.start()
        learning = asyncio.ensure_future(installations.learn())
        try:
            yield {"service": installations.home, "installations": installations}
        finally:
            learning.cancel()
            if shared.replica is not None:
                await shared.replica.close()
            await asyncio.get_running_loop().run_in_executor(None, _stop, installations, shared)
            if together is not None:
                together.stop()

    return Application(cors_origins=settings.allowed_origins, lifespan=lifespan, tracer=tracer)


class Shared(NamedTuple):
    """The parts of the process that all its installations share."""

    metrics: Metrics
    applications: Mapping[str, LedgerApplication]
    ledger_map: LedgerMap | None
    siblings: Siblings
    providers: Mapping[str, Provider]
    document: Callable[[], bytes]
    tracer: Tracer | None
    room: BodyRoom
    answers: AnswerRoom
    log: RequestLog
    replica: Replica | None


def _shared(
    settings: Settings,
    placed: Sequence[Installation],
    document: Callable[[], bytes],
    tracer: Tracer | None,
) -> Shared:
    metrics, limit = Metrics(is_placement=settings.is_placement), settings.max_clock_difference_seconds
    applications = {
        name: LedgerApplication(
            database, observe=metrics.of(name).batch, max_clock_difference_seconds=limit, tracer=tracer
        )
        for name, database in placed
    }
    ledger_map = LedgerMap() if settings.is_placement else None
    siblings = Siblings(Holders(applications, ledger_map))
    providers: dict[str, Provider] = {**make_providers(settings.providers), BRIDGE: BridgeProvider(siblings)}
    if tracer is not None:
        providers = {name: TracedProvider(name, provider, tracer) for name, provider in providers.items()}
    rooms = BodyRoom(), AnswerRoom()
    return Shared(
        metrics,
        applications,
        ledger_map,
        siblings,
        providers,
        document,
        tracer,
        *rooms,
        RequestLog(),
        _replica(settings) if settings.read_only else None,
    )


def _together(door: Door, applications: Mapping[str, LedgerApplication]) -> Committer | Way:
    """Return what connects this process with the others. If another one commits, commands are passed on to it."""
    if door.is_inside:
        return Committer(door.side, {name: ledger.group_commit for name, ledger in applications.items()})
    way = Way(door.side)
    for name, ledger in applications.items():
        ledger.commit = PassedOn(ledger.group_commit, way, name)
    return way


def _start(settings: Settings, placed: Sequence[Installation], shared: Shared) -> Installations:
    home = _start_one(settings, placed[0], shared)
    others = [_start_one(settings, installation, shared, home.keys) for installation in placed[1:]]
    services = [home, *others]
    return Installations(services, shared.ledger_map)


def _start_one(
    settings: Settings, installation: Installation, shared: Shared, keys: KeyCache | None = None
) -> Service:
    """Start the parts of one installation. `keys` are those of home, None if this is home."""
    name, database = installation
    if settings.is_placement:
        call_installation(database, name)
    providers, limit = shared.providers, settings.max_clock_difference_seconds
    ledger, books = shared.applications[name], shared.metrics.of(name)
    # Threads of its own, so that an installation that hangs keeps no other waiting.
    reading = ThreadPoolExecutor(POOL_SIZE, "read")
    streaming = ThreadPoolExecutor(STREAMS_AT_ONCE, "stream")
    replays = ReplayLog(ledger)
    writer = Writer(ledger, asyncio.get_running_loop(), books, replays)
    books.watch_queue(lambda: writer.waiting_commands)
    waiter = PositionWaiter(database)
    worker = Worker(database, ledger, max_clock_difference_seconds=limit)
    payer = Payer(
        database,
        ledger,
        providers,
        max_clock_difference_seconds=limit,
        observe=books.provider_call,
        installation_of=shared.siblings.installation_of,
    )
    waiter.start()
    if not settings.read_only:
        for part in (ledger, replays, worker, payer):
            part.start()
    return Service(
        name=name,
        ledger=ledger,
        writer=writer,
        replays=replays,
        keys=keys or (BelievedKeys if settings.is_placement else KeyCache)(ledger, reading),
        waiter=waiter,
        worker=worker,
        payer=payer,
        providers=providers,
        siblings=shared.siblings,
        signatures=Signatures(settings.providers),
        metrics=shared.metrics,
        books=books,
        destinations=settings.publishing.policy,
        reading=reading,
        streaming=streaming,
        document=shared.document,
        metrics_are_public=settings.public_metrics,
        room=shared.room,
        answers=shared.answers,
        turns=asyncio.Semaphore(POOL_SIZE),
        checkpoints=CheckpointWatch(),
        figures=FiguresReader(),
        log=shared.log,
        replica=shared.replica,
    )


def _replica(settings: Settings) -> Replica:
    return Replica(
        settings.primary_url,
        forwards=settings.forward,
        max_replay_lag_seconds=settings.max_replay_lag_seconds,
    )


def _stop(installations: Installations, shared: Shared) -> None:
    """Commit what waits, then close everything."""
    services = [service for _, service in installations.all()]
    with ThreadPoolExecutor(len(services), "stop") as stopping:
        for stopped in [stopping.submit(_stop_one, service) for service in services]:
            stopped.result()
    for provider in shared.providers.values():
        provider.close()
    shared.log.stop()
    if shared.tracer is not None:
        shared.tracer.close()


def _stop_one(service: Service) -> None:
    if service.replica is None:
        service.payer.stop()
        service.worker.stop()
        service.replays.stop()
    service.waiter.stop()
    service.reading.shutdown()
    service.streaming.shutdown()
    service.ledger.close()
