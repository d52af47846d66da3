"""The installations that the service spans: which there are, and whether each answers."""

import asyncio

from typing_extensions import TypedDict

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import OVERSEER, Concerns, NoQuery, Returns
from api.http.endpoint import endpoint
from api.http.fields import InstallationName
from api.http.responses import Answer, json_answer
from api.http.spanning.spans import Spans
from api.resources.installation import examples
from api.service.readiness import PATIENCE_SECONDS, trouble_of
from api.service.service import Service
from domain.journal.outage import is_denied
from domain.model.errors import LedgerError
from domain.placement.installations import Standing, standing


class InstallationBody(TypedDict):
    """An installation. `is_ready` says whether it can be read and written now; if not, `reason` says why in a word.

    `head` is the newest position of its journal, `ledgers` how many it holds, `migration` the last that was applied to
    it. All three are null if it does not answer.
    """

    name: InstallationName
    is_home: bool
    is_ready: bool
    reason: str | None
    head: int | None
    ledgers: int | None
    migration: str | None


class InstallationsBody(TypedDict):
    """All installations, home first."""

    data: list[InstallationBody]


@endpoint(
    "GET",
    "/v1/installations",
    summary="List installations",
    tag="Operating",
    consistency=Consistency.PROCESS,
    roles=OVERSEER,
    returns=[Returns(200, "The installations.", InstallationsBody, {"data": [examples.INSTALLATION]})],
    concerns=Concerns.NONE,
    spans=Spans.ALL,
)
async def list_installations(call: Call[NoQuery, None]) -> Answer:
    """List the installations of the service, home first. Without a placement there is one, called `main`.

    All are asked at once, so one that does not answer delays the list by some seconds at most.
    """
    home = call.installations.home.name
    bodies = await asyncio.gather(*(_body(service, home) for _, service in call.installations.all()))
    return json_answer(200, {"data": bodies})


async def _body(service: Service, home: str) -> InstallationBody:
    trouble, found = await asyncio.gather(trouble_of(service), _standing(service))
    return {
        "name": service.name,
        "is_home": service.name == home,
        "is_ready": trouble is None,
        "reason": trouble,
        "head": found and found.head,
        "ledgers": found and found.ledgers,
        "migration": found and found.migration,
    }


async def _standing(service: Service) -> Standing | None:
    """Return how an installation stands, None if it does not answer or lacks what is asked for."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await service.look_up(standing)
    except (LedgerError, TimeoutError):
        return None
    except Exception as error:
        if not is_denied(error):
            raise
        return None
