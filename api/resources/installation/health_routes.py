"""The service itself: alive, ready, measured. Anybody may ask for the first two; figures are of the books as well."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

from pydantic import Field

from api.http.consistency import Consistency
from api.http.declaration import ANYBODY, OVERSEER, Concerns, Declaration, NoQuery, Returns
from api.http.endpoint import Call, Endpoint, overseer
from api.http.fields import Query
from api.http.responses import Answer, json_answer
from api.resources.projections.answers import all_shown
from api.service.metrics import MEDIA_TYPE
from api.service.readiness import PATIENCE_SECONDS, check, require
from domain.application import system_clock
from domain.model.errors import JournalUnavailable
from projections.diagnosis.stuck.catalogue import Total, totals
from projections.diagnosis.stuck.search import find_stuck
from projections.running.positions import Progress, all_progress


class HealthQuery(Query):
    """How much to tell."""

    verbose: str | None = Field(None, description="whatever it is: tell more, if there is more to tell")


async def get_liveness(call: Call[HealthQuery, None]) -> Answer:
    """Say that the process answers at all."""
    return json_answer(200, {"status": "alive"})


async def get_readiness(call: Call[HealthQuery, None]) -> Answer:
    """Say whether requests can be served: database reachable, migrations current, writer writing.

    With `verbose`, and the key of an auditor or operator with every ledger, each check and how far each projection is;
    where `TALLYSTICK_PUBLIC_METRICS` is true, anybody is told. A projection that lags makes nothing unready.
    """
    readiness = await check(call.service)
    require(readiness)
    if call.query.verbose is None or not (call.service.metrics_are_public or await overseer(call)):
        return json_answer(200, {"status": "ready"})
    checks = {name: failure or "ok" for name, failure in readiness._asdict().items()}
    projections = await call.service.look_up(all_shown)
    return json_answer(200, {"status": "ready", "checks": checks, "projections": projections})


async def get_metrics(call: Call[NoQuery, None]) -> Answer:
    """Show what is measured, in the text format of Prometheus, to who was granted every ledger.

    Where `TALLYSTICK_PUBLIC_METRICS` is true, anybody may ask, also while keys cannot be looked up.
    """
    progress: list[Progress] = []
    stuck: list[Total] = []
    # Without the database, the figures of the processes are all the more wanted.
    with suppress(JournalUnavailable, TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            progress = await call.service.look_up(all_progress)
            now = system_clock()
            stuck = totals(await call.service.look_up(partial(find_stuck, now=now)), now)
    page = await call.service.read(call.service.metrics.page, progress, stuck)
    return Answer(200, page, media_type=MEDIA_TYPE)


def _declared(path: str, operation_id: str, summary: str, returns: Returns, **more: Any) -> Declaration:
    roles = more.pop("roles", ANYBODY)
    return Declaration(
        "GET", path, operation_id, "Operating", summary, Consistency.PROCESS, roles, (returns,), **more
    )


ENDPOINTS = [
    Endpoint(
        _declared(
            "/livez",
            "get_liveness",
            "Is it alive?",
            Returns(200, "It is.", Any, {"status": "alive"}),
            query=HealthQuery,
        ),
        get_liveness,
    ),
    Endpoint(
        _declared(
            "/readyz",
            "get_readiness",
            "Is it ready?",
            Returns(200, "It is.", Any, {"status": "ready"}),
            query=HealthQuery,
            problems=(JournalUnavailable,),
        ),
        get_readiness,
    ),
    Endpoint(
        _declared(
            "/metrics",
            "get_metrics",
            "What is measured",
            Returns(200, "The figures.", None, "tallystick_journal_head 21.0", media_type="text/plain"),
            roles=OVERSEER,
            concerns=Concerns.EVERY,
            may_be_public=True,
        ),
        get_metrics,
    ),
]
