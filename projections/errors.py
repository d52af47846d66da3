"""Refusals of reads and of operating requests: one class for each problem code, as in domain/model/errors.py."""

from re import compile

from domain.model.errors import Conflict, NotFound, Unavailable

_NAME = compile(r"[a-z_]{1,64}")


class ProjectionNotFound(NotFound):
    """There is no projection of this name."""

    code = "projection_not_found"


class WebhookNotFound(NotFound):
    """There is no webhook with this id, or it was deleted."""

    code = "webhook_not_found"


class DeliveryNotFound(NotFound):
    """There is no delivery with this id to this webhook."""

    code = "delivery_not_found"


class DeadLetterNotFound(NotFound):
    """There is no dead letter with this id."""

    code = "dead_letter_not_found"


class CheckpointNotFound(NotFound):
    """No checkpoint of this size was signed. GET /v1/audit/checkpoints lists those that were."""

    code = "checkpoint_not_found"


class WitnessedLogNotFound(NotFound):
    """No log of this name is witnessed. GET /v1/audit/witnesses lists those that are."""

    code = "witnessed_log_not_found"


class DeadLetterClosed(Conflict):
    """The dead letter was closed in another way before: what was discarded cannot be retried, what was applied cannot
    be discarded, and of a version of a projection that was replaced there is nothing left to decide."""

    code = "dead_letter_closed"


class RebuildNotUnderWay(Conflict):
    """No rebuild of this projection is under way, so there is none to pause or to resume."""

    code = "rebuild_not_under_way"


class RebuildNeeded(Conflict):
    """This release has no other version of the projection that it could read, so the rebuild of it cannot be cancelled.
    It can be paused, or asked for anew."""

    code = "rebuild_needed"


_FILLING = (
    "The projection is being filled in the form that this release reads, and cannot be read before it is full:"
    " `position` says how far that is. It ends by itself, and nothing is lost. What names one thing, and what writes,"
    " is answered meanwhile, and all of it by a server of the release before, where one still runs."
)


class ProjectionBehind(Unavailable):
    """The projection has not reached the position that the request named within the time it would wait, or what the
    request asks for is held behind a dead letter."""

    code = "projection_behind"

    def __init__(self, position: int, head: int, state: str, dead_letter: str | None = None) -> None:
        """`dead_letter` is the id of the dead letter that holds the requested rows, if there is one."""
        super().__init__(_FILLING if state == "rebuilding" else None)
        self.position = position
        self.head = head
        self.state = state
        self.dead_letter = dead_letter


def projection_not_found(name: str) -> ProjectionNotFound:
    """Return the refusal of a request that names an unknown projection."""
    if not _NAME.fullmatch(name):
        return ProjectionNotFound()
    return ProjectionNotFound(f"There is no projection {name}.", projection=name)
