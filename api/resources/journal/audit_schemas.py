"""Checkpoints and proofs: requests and answers."""

from pydantic import Field
from typing_extensions import TypeAliasType, TypedDict

from api.http.fields import Counted, InstallationQuery, ListQuery, Position, ProjectedQuery
from api.http.models.formats import Instant
from api.resources.journal.event_schemas import EventBody
from api.resources.transactions.list_schemas import Bound
from domain.model.installation import checkpoints
from domain.model.installation.checkpoints import WitnessedLog
from projections.transparency.checkpoints import Past
from projections.transparency.proofs import Growth, Inclusion
from projections.witnessing.logs import Look


class CheckpointQuery(ProjectedQuery, InstallationQuery):
    """The newest checkpoint."""


class CheckpointsQuery(ListQuery, InstallationQuery):
    """The filters of the list of checkpoints, in the order of signing."""

    since: Bound = Field(None, alias="from", description="signed at this time or later")
    until: Bound = Field(None, alias="to", description="signed before this time")


class CheckpointBody(TypedDict):
    """A signed checkpoint of the journal up to the position `size`. `note` is the signed note itself.

    `signed_at` is the database's time. The signature does not cover it.
    """

    size: int
    signed_at: Instant
    root_hash: str
    note: str


Contradiction = TypeAliasType("Contradiction", checkpoints.Contradiction)


class DisputeBody(TypedDict):
    """What a log showed that contradicts what was witnessed of it, and how. `note` is the signed note it showed."""

    contradiction: Contradiction
    note: str


class WitnessedLogBody(TypedDict):
    """A log of another installation, and the checkpoint of it that was witnessed last, at `position` of this journal.

    `is_watched` says whether it is looked at from time to time. `note` is the other's signed note with the cosignature
    of this installation (C2SP tlog-cosignature). `seen_at` is when the log's newest checkpoint, of `seen_size` events,
    was last found to follow. `last_error` says why the last look failed. Members are null while nothing is known, and
    `dispute` is null unless there is one.
    """

    name: str
    is_watched: bool
    origin: str | None
    size: int | None
    root_hash: str | None
    note: str | None
    recorded_at: Instant | None
    position: int | None
    dispute: DisputeBody | None
    seen_at: Instant | None
    seen_size: int | None
    last_error: str | None


class WitnessesBody(TypedDict):
    """The witnessed logs by name. `own_size` is the newest position of an event other than a record of witnessing."""

    own_size: int
    logs: list[WitnessedLogBody]


class WitnessedQuery(ListQuery, InstallationQuery):
    """What was recorded of a log, in the order of recording."""


class WitnessedEventBody(EventBody):
    """An event of a witnessed log, as it is stored. It belongs to no ledger."""


class InclusionQuery(InstallationQuery):
    """The position of an event, and the size of the tree that contains it."""

    position: Counted
    size: Counted | None = Field(None, description="the size of a checkpoint; default: the newest one's")


class GrowthQuery(InstallationQuery):
    """The sizes of two trees. The smaller is to be proved the beginning of the larger."""

    first: Position = Field(alias="from", description="the size of an earlier checkpoint")
    second: Position | None = Field(
        None, alias="to", description="the size of a later checkpoint; default: the newest one's"
    )


class InclusionProofBody(TypedDict):
    """A proof of inclusion (RFC 9162 §2.1.3): the event is leaf `leaf_index` in the tree of `size` events."""

    position: int
    leaf_index: int
    size: int
    leaf_hash: str
    root_hash: str
    path: list[str]


# Only this form of declaration allows a member called `from`.
ConsistencyProofBody = TypedDict(
    "ConsistencyProofBody", {"from": int, "to": int, "from_root": str, "to_root": str, "path": list[str]}
)
ConsistencyProofBody.__doc__ = (
    "A proof of consistency (RFC 9162 §2.1.4): the tree of size `to` begins with the tree of size `from`."
)


def checkpoint_body(checkpoint: Past) -> CheckpointBody:
    """Return the body for a checkpoint in the list."""
    return {
        "size": checkpoint.size,
        "signed_at": checkpoint.signed_at,
        "root_hash": checkpoint.root.hex(),
        "note": checkpoint.note,
    }


def witnessed_body(look: Look, log: WitnessedLog | None) -> WitnessedLogBody:
    """Return the body for a witnessed log."""
    dispute = log.dispute if log else None
    return {
        "name": look.name,
        "is_watched": look.is_watched,
        "origin": log and log.origin,
        "size": log and log.size,
        "root_hash": log and log.root.hex(),
        "note": log and log.note + log.cosignature,
        "recorded_at": log and log.recorded_at,
        "position": log and log.position,
        "dispute": {"contradiction": dispute.contradiction, "note": dispute.disputed} if dispute else None,
        "seen_at": look.seen_at,
        "seen_size": look.seen_size,
        "last_error": look.last_error,
    }


def inclusion_body(proof: Inclusion) -> InclusionProofBody:
    """Return the body for a proof of inclusion. Hashes are in hex."""
    return {
        "position": proof.position,
        "leaf_index": proof.position - 1,
        "size": proof.size,
        "leaf_hash": proof.leaf_hash.hex(),
        "root_hash": proof.root.hex(),
        "path": [node.hex() for node in proof.path],
    }


def growth_body(proof: Growth) -> ConsistencyProofBody:
    """Return the body for a proof of consistency. Hashes are in hex."""
    return {
        "from": proof.first,
        "to": proof.second,
        "from_root": proof.first_root.hex(),
        "to_root": proof.second_root.hex(),
        "path": [node.hex() for node in proof.path],
    }
