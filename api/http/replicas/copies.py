"""What a copy of the ledger may answer, and how it does."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Scope

from api.http.call import Call
from api.http.declaration import Declaration
from api.http.idempotency import idempotency_key
from api.http.replicas.forwarding import announce_wait, operation_path
from api.http.request import SESSION
from api.http.responses import HEAD, POSITION, Answer, Streamed
from api.service.replica import Replica
from api.service.service import Service
from domain.model.errors import LedgerError, NotFound


def is_passed_on(declared: Declaration, scope: Scope, replica: Replica) -> bool:
    """Tell whether a request is passed on to the primary: a copy may not answer it, and the replica is told to.

    What the console asks for is never passed on: it has no key to show.
    """
    return replica.forwards and _is_for_primary(declared, scope) and SESSION not in scope["head"].headers


def operation_of(declared: Declaration, scope: Scope) -> str | None:
    """Return the path that tells what became of a keyed request of a ledger, None for any other."""
    if not declared.is_keyed:
        return None
    try:
        key = idempotency_key(scope["head"].headers.get(b"idempotency-key"))
    except LedgerError:
        return None  # the primary refuses it
    return operation_path(scope["path_params"], key)


def require_copied(declared: Declaration, scope: Scope, replica: Replica) -> None:
    """Raise `ReadOnlyReplica` unless the copy may answer. To the console it shows whatever it has."""
    is_read_of_console = SESSION in scope["head"].headers and declared.method == "GET"
    if _is_for_primary(declared, scope) and not is_read_of_console:
        raise replica.refusal()


async def answer_from_copy(
    declared: Declaration,
    call: Call[Any, Any],
    scope: Scope,
    replica: Replica,
    serve: Callable[[Call[Any, Any]], Awaitable[Answer | Streamed]],
) -> Answer | Streamed:
    """Return the answer of a copy to a read. The console is shown what else it holds, and where it says nothing.

    That something is not in the copy does not mean that it was not recorded.
    """
    if _waits(declared, call):
        announce_wait(scope, replica, declared.path)
    try:
        answer = await serve(call)
    except NotFound:
        if not _is_for_primary(declared, scope):
            raise
        raise replica.refusal("This copy of the ledger does not have it. The primary may.") from None
    _note_head(call.service, answer)
    return answer


def _is_for_primary(declared: Declaration, scope: Scope) -> bool:
    """Tell whether only the primary may answer a request. It then is not for a copy of the ledger."""
    if declared.needs_primary is None:
        return dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("consistency") != "eventual"
    return declared.needs_primary


def _waits(declared: Declaration, call: Call[Any, Any]) -> bool:
    """Tell whether a read may have to wait for a projection: not each is known to be there."""
    position = getattr(call.query, "min_position", None) if declared.projected else None
    return position is not None and not call.service.waiter.have_all_reached(position)


def _note_head(service: Service, answer: Answer | Streamed) -> None:
    """Remember the newest head that was told, so that no refusal names an older one. A writer would know it."""
    told = answer.headers.get(HEAD) or answer.headers.get(POSITION)
    if told is not None:
        service.waiter.note_head(int(told))
