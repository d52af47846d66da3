"""Health and metrics. Anybody may ask whether the service is alive and ready; figures also reveal the books."""

import asyncio
from functools import partial
from typing import Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from api.http.consistency import Consistency
from api.http.declaration import ANYBODY, OVERSEER, Concerns, NoQuery, Returns
from api.http.endpoint import Call, endpoint, overseer
from api.http.fields import Query
from api.http.responses import Answer, json_answer
from api.resources.projections.answers import all_shown
from api.resources.projections.schemas import ProjectionBody
from api.service.metrics import MEDIA_TYPE
from api.service.readiness import check, goes_on_without_home, is_ready, require
from domain.model.errors import JournalUnavailable


class HealthQuery(Query):
    """How much to show."""

    verbose: str | None = Field(None, description="any value: show the details that the key may see")


class LivenessBody(TypedDict):
    """The process answers."""

    status: Literal["alive"]


class ReadinessBody(TypedDict):
    """The service is ready. With `verbose`: what was found at each check, and every projection."""

    status: Literal["ready"]
    checks: NotRequired[dict[str, str]]
    projections: NotRequired[list[ProjectionBody]]


@endpoint(
    "GET",
    "/livez",
    summary="Is it alive?",
    tag="Operating",
    consistency=Consistency.PROCESS,
    roles=ANYBODY,
    returns=[Returns(200, "The process is alive.", LivenessBody, {"status": "alive"})],
)
async def get_liveness(call: Call[HealthQuery, None]) -> Answer:
    """Say that the process answers."""
    return json_answer(200, {"status": "alive"})


@endpoint(
    "GET",
    "/readyz",
    summary="Is it ready?",
    tag="Operating",
    consistency=Consistency.PROCESS,
    roles=ANYBODY,
    returns=[Returns(200, "The service is ready.", ReadinessBody, {"status": "ready"})],
    problems=[JournalUnavailable],
)
async def get_readiness(call: Call[HealthQuery, None]) -> Answer:
    """Say whether requests can be served: the database answers, its migrations are current, the writer can write.

    With `verbose`, an auditor or operator with every ledger also sees each check and the position of each projection.
    If `TALLYSTICK_PUBLIC_METRICS` is true, anybody sees them. A projection that lags does not make the service unready.
    """
    readiness = await check(call.service)
    if not readiness.is_ready and await goes_on_without_home(call.installations):
        return json_answer(200, {"status": "ready"})
    require(readiness)
    if call.query.verbose is None or not (call.service.metrics_are_public or await overseer(call)):
        return json_answer(200, {"status": "ready"})
    checks = {name: failure or "ok" for name, failure in readiness._asdict().items()}
    projections = await call.service.look_up(all_shown)
    return json_answer(200, {"status": "ready", "checks": checks, "projections": projections})


@endpoint(
    "GET",
    "/metrics",
    summary="Show the metrics",
    tag="Operating",
    consistency=Consistency.PROCESS,
    roles=OVERSEER,
    returns=[Returns(200, "The metrics.", None, "tallystick_journal_head 21.0", media_type="text/plain")],
    concerns=Concerns.EVERY,
    may_be_public=True,
)
async def get_metrics(call: Call[NoQuery, None]) -> Answer:
    """Show the metrics in the text format of Prometheus. Needs a key that was granted every ledger.

    If `TALLYSTICK_PUBLIC_METRICS` is true, anybody may ask, even while keys cannot be looked up.
    """
    service = call.service
    ready, figures = await asyncio.gather(is_ready(service), service.figures.read(service.look_up))
    page = await service.read(partial(service.metrics.page, figures, is_ready=ready))
    return Answer(200, page, media_type=MEDIA_TYPE)
