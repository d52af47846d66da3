"""The application: builds its parts, starts them and stops them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from pydantic_core import to_json
from starlette import routing
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from api.console.console import Console
from api.http.middleware import HttpMiddleware
from api.http.router import Router, no_path
from api.request_spans import TracedRequests
from api.resources import ENDPOINTS
from api.security.callback_signatures import Signatures
from api.service.body_room import AnswerRoom, BodyRoom
from api.service.checkpoint_watch import CheckpointWatch
from api.service.connections import POOL_SIZE
from api.service.figures import FiguresReader
from api.service.key_cache import KeyCache
from api.service.metrics import Metrics
from api.service.replay_log import ReplayLog
from api.service.replica import Replica
from api.service.request_log import RequestLog
from api.service.service import Service
from api.service.writer import Writer
from api.settings import Settings
from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.tracing import Tracer
from projections.process_managers.due_worker import Worker
from projections.process_managers.payer import Payer
from projections.process_managers.providers.settings import make_providers
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


def create_app(settings: Settings, tracer: Tracer | None = None) -> Application:
    """Return the application of one process. Its lifespan opens and closes everything that it uses, the tracer too.

    Raises `ValueError` if the settings name no database.
    """
    database = settings.database

    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[dict[str, Any]]:
        service = _start(settings, database, cache(lambda: to_json(app.openapi())), tracer)
        try:
            yield {"service": service}
        finally:
            if service.replica is not None:
                await service.replica.close()
            await asyncio.get_running_loop().run_in_executor(None, _stop, service, tracer)

    return Application(cors_origins=settings.allowed_origins, lifespan=lifespan, tracer=tracer)


def _start(
    settings: Settings, database: Database, document: Callable[[], bytes], tracer: Tracer | None
) -> Service:
    metrics = Metrics()
    ledger = LedgerApplication(
        database,
        observe=metrics.batch,
        max_clock_difference_seconds=settings.max_clock_difference_seconds,
        tracer=tracer,
    )
    reading = ThreadPoolExecutor(POOL_SIZE, "read")
    streaming = ThreadPoolExecutor(STREAMS_AT_ONCE, "stream")
    replays = ReplayLog(ledger)
    writer = Writer(ledger, asyncio.get_running_loop(), metrics, replays)
    metrics.watch_queue(lambda: writer.waiting_commands)
    waiter = PositionWaiter(database)
    limit = settings.max_clock_difference_seconds
    worker = Worker(database, ledger, max_clock_difference_seconds=limit)
    providers = make_providers(settings.providers)
    if tracer is not None:
        providers = {name: TracedProvider(name, provider, tracer) for name, provider in providers.items()}
    payer = Payer(
        database, ledger, providers, max_clock_difference_seconds=limit, observe=metrics.provider_call
    )
    waiter.start()
    if not settings.read_only:
        for part in (ledger, replays, worker, payer):
            part.start()
    return Service(
        ledger=ledger,
        writer=writer,
        replays=replays,
        keys=KeyCache(ledger, reading),
        waiter=waiter,
        worker=worker,
        payer=payer,
        providers=providers,
        signatures=Signatures(settings.providers),
        metrics=metrics,
        destinations=settings.publishing.policy,
        reading=reading,
        streaming=streaming,
        document=document,
        metrics_are_public=settings.public_metrics,
        room=BodyRoom(),
        answers=AnswerRoom(),
        turns=asyncio.Semaphore(POOL_SIZE),
        checkpoints=CheckpointWatch(),
        figures=FiguresReader(),
        log=RequestLog(),
        replica=_replica(settings) if settings.read_only else None,
    )


def _replica(settings: Settings) -> Replica:
    return Replica(
        settings.primary_url,
        forwards=settings.forward,
        max_replay_lag_seconds=settings.max_replay_lag_seconds,
    )


def _stop(service: Service, tracer: Tracer | None) -> None:
    """Commit what waits, then close everything."""
    if service.replica is None:
        service.payer.stop()
        service.worker.stop()
        service.replays.stop()
    service.waiter.stop()
    service.reading.shutdown()
    service.streaming.shutdown()
    service.ledger.close()
    for provider in service.providers.values():
        provider.close()
    service.log.stop()
    if tracer is not None:
        tracer.close()
