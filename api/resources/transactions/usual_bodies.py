"""The usual bodies of requests for transactions: entries and words about them, without times.

They are read in a quarter of the time that the models in `schemas` and `batch_schemas` take. A body is made here as its
model would make it, or it is left to the model, which also finds the words for what is wrong.
"""

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct, convert

from api.http.models.metadata import MAX_METADATA, MAX_METADATA_LENGTH
from api.http.words import METADATA_KEY_PATTERN
from api.resources.transactions.batch_schemas import MAX_ITEMS
from api.resources.transactions.schemas import MAX_DESCRIPTION_LENGTH, MAX_REFERENCE_LENGTH
from domain.model.entries import MAX_ENTRIES, MIN_ENTRIES
from domain.model.idempotency import KEY_PATTERN
from domain.model.money import MAX_AMOUNT, Direction
from domain.model.streams import ADDRESS_PATTERN, MAX_ADDRESS_LENGTH


def _whole(pattern: str) -> str:
    """Return a pattern that does not match before a line break at the end, as `$` does in Python."""
    return rf"{pattern[:-1]}\Z"


class UsualEntry(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An entry to post."""

    account: Annotated[str, Meta(pattern=_whole(ADDRESS_PATTERN), max_length=MAX_ADDRESS_LENGTH)]
    direction: Direction
    amount: Annotated[int, Meta(ge=1, le=MAX_AMOUNT)]


class _Described(Struct, frozen=True, forbid_unknown_fields=True, gc=False, kw_only=True):
    entries: Annotated[tuple[UsualEntry, ...], Meta(min_length=MIN_ENTRIES, max_length=MAX_ENTRIES)]
    reference: Annotated[str, Meta(max_length=MAX_REFERENCE_LENGTH)] = ""
    description: Annotated[str, Meta(max_length=MAX_DESCRIPTION_LENGTH)] = ""
    metadata: Annotated[
        dict[
            Annotated[str, Meta(pattern=_whole(METADATA_KEY_PATTERN))],
            Annotated[str, Meta(max_length=MAX_METADATA_LENGTH)],
        ],
        Meta(max_length=MAX_METADATA),
    ] = {}
    pending: bool = False

    expires_at: ClassVar[None] = None
    effective_at: ClassVar[None] = None


class UsualTransaction(_Described, frozen=True, forbid_unknown_fields=True, gc=False):
    """A transaction to post, or a hold without an end. See `TransactionRequest`."""


class UsualItem(_Described, frozen=True, forbid_unknown_fields=True, gc=False, kw_only=True):
    """An item of a batch that posts a transaction or makes a hold. See `PostItem`."""

    verb: ClassVar[Literal[""]] = ""

    idempotency_key: Annotated[str, Meta(pattern=_whole(KEY_PATTERN))]


class UsualBatch(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A batch of such items. See `BatchRequest`."""

    mode: Literal["atomic", "independent"]
    transactions: Annotated[list[Any], Meta(min_length=1, max_length=MAX_ITEMS)]


def usual_transaction(sent: Any) -> UsualTransaction:
    """Return the body of a request for one transaction; raise `msgspec.ValidationError`."""
    return convert(sent, UsualTransaction)


def usual_batch(sent: Any) -> UsualBatch:
    """Return the body of a batch; raise `msgspec.ValidationError`.

    The items are made one by one, so that another thread has its turn between two of them.
    """
    mode, items = convert(sent, UsualBatch).mode, sent["transactions"]
    return UsualBatch(mode, [convert(item, UsualItem) for item in items])
