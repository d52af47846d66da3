"""Health and metrics. Anybody may ask whether the service is alive and ready; figures also reveal the books."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, NotRequired

from psycopg import Error as PostgresError
from pydantic import Field
from typing_extensions import TypeAliasType, TypedDict

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import ANYBODY, OVERSEER, Concerns, NoQuery, Returns
from api.http.endpoint import endpoint, overseer
from api.http.fields import InstallationName, Query
from api.http.responses import Answer, json_answer
from api.http.spanning.spans import Spans
from api.resources.projections.answers import all_shown
from api.resources.projections.schemas import ProjectionBody
from api.service.families import Seen
from api.service.figures import with_not_arrived
from api.service.metrics import MEDIA_TYPE
from api.service.readiness import (
    Readiness,
    ReplicaReadiness,
    check,
    goes_on_without_home,
    is_ready,
    require,
)
from api.service.service import Service
from domain.application import system_clock
from domain.model.errors import JournalUnavailable

InstallationStatus = TypeAliasType("InstallationStatus", Literal["ready", "unready"])


class HealthQuery(Query):
    """How much to show."""

    verbose: str | None = Field(None, description="any value: show the details that the key may see")


class LivenessBody(TypedDict):
    """The process answers."""

    status: Literal["alive"]


class InstallationReadinessBody(TypedDict):
    """Whether requests about an installation of a placement can be served: each check, and every projection."""

    installation: InstallationName
    status: InstallationStatus
    checks: dict[str, str]
    projections: list[ProjectionBody]


class ReadinessBody(TypedDict):
    """The service is ready. With `verbose`: what was found at each check, and every projection.

    In a placement the checks and projections are those of home, and `installations` has those of each.
    """

    status: Literal["ready"]
    checks: NotRequired[dict[str, str]]
    projections: NotRequired[list[ProjectionBody]]
    installations: NotRequired[list[InstallationReadinessBody]]


@endpoint(
    "GET",
    "/livez",
    summary="Is it alive?",
    tag="Operating",
    consistency=Consistency.PROCESS,
    roles=ANYBODY,
    returns=[Returns(200, "The process is alive.", LivenessBody, {"status": "alive"})],
    spans=Spans.PROCESS,
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
    spans=Spans.ALL,
)
async def get_readiness(call: Call[HealthQuery, None]) -> Answer:
    """Say whether requests can be served: the database answers, its migrations are current, the writer can write.

    With `verbose`, an auditor or operator with every ledger also sees each check and the position of each projection.
    If `TALLYSTICK_PUBLIC_METRICS` is true, anybody sees them. A projection that lags does not make the service unready.
    Nor does an installation of a placement that cannot be used: the service is ready if home is, or for as long as it
    can go on without home. `installations` says how each one is.
    """
    readiness = await check(call.service)
    if readiness.is_ready or not await goes_on_without_home(call.installations):
        require(readiness)
    if call.query.verbose is None or not (call.service.metrics_are_public or await overseer(call)):
        return json_answer(200, {"status": "ready"})
    home = await _shown(call.service, readiness)
    body = {"status": "ready", **home}
    if call.installations.is_placement:
        others = [service for _, service in call.installations.all() if service is not call.service]
        found = await asyncio.gather(*map(_looked_at, others))
        body["installations"] = [_standing(call.service, readiness, home), *found]
    return json_answer(200, body)


async def _looked_at(service: Service) -> dict[str, Any]:
    """Return what was found at the checks of an installation, and its projections."""
    try:
        readiness = await check(service)
        shown = await _shown(service, readiness)
    except (JournalUnavailable, PostgresError) as error:
        why = error.reason if isinstance(error, JournalUnavailable) else "denied"
        readiness = (Readiness if service.replica is None else ReplicaReadiness)(None, None, why)
        shown = {"checks": _words(readiness), "projections": []}
    return _standing(service, readiness, shown)


def _standing(
    service: Service, readiness: Readiness | ReplicaReadiness, shown: Mapping[str, Any]
) -> dict[str, Any]:
    status = "ready" if readiness.is_ready else "unready"
    return {"installation": service.name, "status": status, **shown}


async def _shown(service: Service, readiness: Readiness | ReplicaReadiness) -> dict[str, Any]:
    """Return the checks in words, and the projections if they can be read."""
    projections = await service.look_up(all_shown) if readiness.is_ready else []
    return {"checks": _words(readiness), "projections": projections}


def _words(readiness: Readiness | ReplicaReadiness) -> dict[str, str]:
    return {name: failure or "ok" for name, failure in readiness._asdict().items()}


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
    spans=Spans.ALL,
)
async def get_metrics(call: Call[NoQuery, None]) -> Answer:
    """Show the metrics in the text format of Prometheus. Needs a key that was granted every ledger.

    If `TALLYSTICK_PUBLIC_METRICS` is true, anybody may ask, even while keys cannot be looked up.
    """
    installations = call.installations
    services = [service for _, service in installations.all()]
    ready, read = await asyncio.gather(
        asyncio.gather(*map(is_ready, services)),
        asyncio.gather(*(service.figures.read(service.look_up) for service in services)),
    )
    figures = dict(zip(installations.names, read, strict=True))
    if installations.is_placement:
        figures = with_not_arrived(figures, system_clock())
    seen = [
        Seen(name if installations.is_placement else None, of, is_so)
        for (name, of), is_so in zip(figures.items(), ready, strict=True)
    ]
    page = await call.service.read(partial(call.service.metrics.page, seen))
    return Answer(200, page, media_type=MEDIA_TYPE)
