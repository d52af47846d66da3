"""What a copy of the ledger may answer, and how it does."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Scope, Send

from api.http.call import Call
from api.http.declaration import Declaration
from api.http.idempotency import idempotency_key
from api.http.replicas.forwarding import announce_wait, ask_primary, operation_path
from api.http.request import SESSION
from api.http.responses import HEAD, POSITION, Answer, Streamed
from api.service.installations import Installations
from api.service.replica import Replica
from api.service.service import Service
from domain.model.errors import BeyondJournal, LedgerError, NotFound
from projections.engine.journal_listener import is_position

Serve = Callable[[Call[Any, Any]], Awaitable[Answer | Streamed]]

DENIALS = (NotFound, BeyondJournal)
"""The refusals that say that something was not recorded."""

UNKNOWN_POSITION = (
    "No copy knows of which installation min_position is, and not each has reached it. Name the one that answered the"
    " write in `installation`, or ask the primary."
)


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
    if is_read_of_console or not _is_for_primary(declared, scope):
        return
    raise replica.refusal(UNKNOWN_POSITION if declared.awaits_any else None)


async def answer_from_copy(
    declared: Declaration, call: Call[Any, Any], scope: Scope, replica: Replica, serve: Serve
) -> Answer | Streamed:
    """Return the answer of a copy to a read. The console is shown what else it holds, and where it says nothing.

    That something is not in the copy does not mean that it was not recorded. So a denial says that a copy said so, and
    what position the copy had reached.
    """
    if _waits(declared, call):
        announce_wait(scope, replica, f"{declared.path} {call.service.name}")
    # Known before the copy is read, so that what it denies is not in the journal up to there.
    heads = {name: service.waiter.head for name, service in call.installations.all()}
    try:
        return await serve(call)
    except DENIALS as denial:
        if _is_for_primary(declared, scope):
            raise replica.refusal("This copy of the ledger does not have it. The primary may.") from None
        asked: Service = scope.get("service", call.service)
        _say_who_denies(denial, heads[asked.name], getattr(call.query, "min_position", None))
        raise


def _say_who_denies(denial: LedgerError, head: int, min_position: int | None) -> None:
    """Make a denial say that a copy said so, and the position that it reflects."""
    if denial.position is None:
        denial.position = max(head, min_position or 0)
    denial.detail += (
        f" A copy says so, which reflects position {denial.position}. What was recorded later may be there: name its"
        " position as min_position, or ask the primary."
    )
    denial.details["position"] = denial.position


async def is_answered_by_primary(scope: Scope, send: Send, replica: Replica) -> bool:
    """Answer a read that the copy denies as the primary does, if it is to be asked and answers; tell whether it did."""
    may_ask = replica.forwards and SESSION not in scope["head"].headers
    return may_ask and await ask_primary(scope, send, replica)


def noting_head(serve: Serve) -> Serve:
    """Return what serves a request from a copy and notes the newest head that it tells.

    So no refusal of this process names an older one. A writer would know the head.
    """

    async def noted(call: Call[Any, Any]) -> Answer | Streamed:
        answer = await serve(call)
        told = answer.headers.get(HEAD) or answer.headers.get(POSITION)
        if told is not None:
            call.service.waiter.note_head(int(told))
        return answer

    return noted


def _is_for_primary(declared: Declaration, scope: Scope) -> bool:
    """Tell whether only the primary may answer a request. It then is not for a copy of the ledger."""
    if declared.needs_primary is None:
        return _given(scope).get("consistency") != "eventual"
    return declared.needs_primary or (declared.awaits_any and _awaits_unknown(scope))


def _awaits_unknown(scope: Scope) -> bool:
    """Tell whether a list is to reflect a position that some copy has not reached, of an installation unknown here.

    A copy that has not reached it may lack what was recorded there, or it is a position of another installation.
    """
    installations: Installations = scope["state"]["installations"]
    if len(installations.names) == 1:
        return False
    given = _given(scope)
    position = given.get("min_position", "")
    if given.get("installation") or not is_position(position):
        return False
    return not all(of.waiter.have_all_reached(int(position)) for _, of in installations.all())


def _given(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode("latin-1")))


def _waits(declared: Declaration, call: Call[Any, Any]) -> bool:
    """Tell whether a read may have to wait for a projection: not each is known to be there."""
    position = getattr(call.query, "min_position", None) if declared.projected else None
    return position is not None and not call.service.waiter.have_all_reached(position)
