"""Checkpoints and proofs, as they are asked for and shown."""

from pydantic import Field
from typing_extensions import TypedDict

from api.http.fields import Counted, ListQuery, Position, ProjectedQuery, Query
from api.resources.transactions.list_schemas import Bound
from domain.model.times import Instant
from projections.transparency.checkpoints import Past
from projections.transparency.proofs import Growth, Inclusion


class CheckpointQuery(ProjectedQuery):
    """The newest checkpoint."""


class CheckpointsQuery(ListQuery):
    """The list of checkpoints, in the order in which they were signed."""

    since: Bound = Field(None, alias="from", description="signed from then on, inclusive")
    until: Bound = Field(None, alias="to", description="signed before then, exclusive")


class CheckpointBody(TypedDict):
    """A checkpoint that was signed, of the journal up to the position `size`; `note` is the signed note itself.

    `signed_at` is by the clock of the database, and no part of what is signed.
    """

    size: int
    signed_at: Instant
    root_hash: str
    note: str


class InclusionQuery(Query):
    """An event by its position, and the size of the tree that it is to be proved a part of."""

    position: Counted
    size: Counted | None = Field(None, description="of a checkpoint; that of the newest, if it is left out")


class GrowthQuery(Query):
    """The sizes of two trees, of which the smaller is to be proved the beginning of the larger."""

    first: Position = Field(alias="from", description="the size of an earlier checkpoint")
    second: Position | None = Field(
        None, alias="to", description="of a later checkpoint; that of the newest, if it is left out"
    )


class InclusionBody(TypedDict):
    """A proof of RFC 9162 §2.1.3: the event at a position is leaf `leaf_index` of the tree of `size` events."""

    position: int
    leaf_index: int
    size: int
    leaf_hash: str
    root_hash: str
    path: list[str]


# A member called `from` can be declared so only.
GrowthBody = TypedDict(
    "GrowthBody", {"from": int, "to": int, "from_root": str, "to_root": str, "path": list[str]}
)
GrowthBody.__doc__ = (
    "A proof of RFC 9162 §2.1.4: the tree of the size `from` is the beginning of that of the size `to`."
)


def checkpoint_body(checkpoint: Past) -> CheckpointBody:
    """Return a checkpoint as it is listed."""
    return {
        "size": checkpoint.size,
        "signed_at": checkpoint.signed_at,
        "root_hash": checkpoint.root.hex(),
        "note": checkpoint.note,
    }


def inclusion_body(proof: Inclusion) -> InclusionBody:
    """Return a proof of inclusion as it is shown, hashes in hex."""
    return {
        "position": proof.position,
        "leaf_index": proof.position - 1,
        "size": proof.size,
        "leaf_hash": proof.leaf_hash.hex(),
        "root_hash": proof.root.hex(),
        "path": [node.hex() for node in proof.path],
    }


def growth_body(proof: Growth) -> GrowthBody:
    """Return a proof of consistency as it is shown, hashes in hex."""
    return {
        "from": proof.first,
        "to": proof.second,
        "from_root": proof.first_root.hex(),
        "to_root": proof.second_root.hex(),
        "path": [node.hex() for node in proof.path],
    }
