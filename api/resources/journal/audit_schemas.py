"""Checkpoints and proofs: requests and answers."""

from pydantic import Field
from typing_extensions import TypedDict

from api.http.fields import Counted, InstallationQuery, ListQuery, Position, ProjectedQuery
from api.http.models.formats import Instant
from api.resources.transactions.list_schemas import Bound
from projections.transparency.checkpoints import Past
from projections.transparency.proofs import Growth, Inclusion


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
