"""A request once it is judged, as handlers get it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

from msgspec import Struct
from pydantic import BaseModel

from api.http.consistency import Prefer, preferences
from api.http.cursors import encode_cursor
from api.http.responses import Answer, Streamed
from api.http.spanning.shown_positions import mapped_place
from api.security.keys import Key
from api.service.installations import Installations
from api.service.service import Service
from domain.journal.shown_positions import ShownPositions
from domain.model.events import Context

QueryT = TypeVar("QueryT", bound=BaseModel)
BodyT = TypeVar("BodyT")


class Call(Struct, Generic[QueryT, BodyT], frozen=True):
    """A request that was found well-formed and allowed.

    `service` is that of the installation that the route's `spans` leads to; home's if it spans all.
    `path_params` are the parameters in the path. `raw_body` is the body as sent, before defaults were filled in.
    `cursor_position` is the place that the cursor names, and `list_id` identifies the list. For a list that spans the
    installations of a placement, it has a place for each by name. `positions` says where positions of this journal are
    shown, None if as they are.
    """

    service: Service
    installations: Installations
    caller: Key
    context: Context
    path: str
    path_params: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    query: QueryT
    body: BodyT
    raw_body: Any
    key: str
    cursor_position: Any
    list_id: str
    positions: ShownPositions | None = None

    @property
    def ledger(self) -> str:
        """The ledger in the path."""
        return self.path_params["ledger"]

    @property
    def prefer(self) -> Prefer:
        """The preferences of the request."""
        return preferences(self.headers.get(b"prefer"))

    @property
    def installation(self) -> str | None:
        """The name of the installation that answers in a placement, None if there is no placement."""
        return self.service.name if self.installations.is_placement else None

    def as_placed(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the body of a thing, with its installation in a placement."""
        return body if self.installation is None else {**body, "installation": self.installation}

    def cursor_after(self, place: Any) -> str:
        """Return the cursor of the page after a place in this list."""
        if self.positions is not None:
            place = mapped_place(place, self.positions.shown)
        return encode_cursor(self.list_id, place)


Handler = Callable[[Call[Any, Any]], Awaitable[Answer | Streamed]]
"""What answers the requests of a route."""
