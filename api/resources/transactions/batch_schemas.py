"""Batches, many keyed requests in one: requests and answers."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag
from typing_extensions import TypeAliasType, TypedDict

from api.http.fields import Request, in_parts
from api.http.models.named_members import Problem
from api.resources.transactions.operation_schemas import OperationBody
from api.resources.transactions.schemas import (
    ReverseRequest,
    SettleRequest,
    TransactionBody,
    TransactionRequest,
    VoidRequest,
)
from domain.model.idempotency import KEY_PATTERN
from domain.model.ids import canonical_id

MAX_ITEMS = 10_000

IdempotencyKey = Annotated[str, Field(pattern=KEY_PATTERN, examples=["order-1"])]
TransactionId = Annotated[
    str, Field(min_length=1, max_length=255, pattern=r"^[^/]*$"), AfterValidator(canonical_id)
]


class PostItem(TransactionRequest):
    """A transaction to post, or a hold to make."""

    verb: ClassVar[str] = ""
    idempotency_key: IdempotencyKey


class SettleItem(SettleRequest):
    """A hold to settle."""

    verb: ClassVar[str] = "settle"
    idempotency_key: IdempotencyKey
    settle: TransactionId


class VoidItem(VoidRequest):
    """A hold to release."""

    verb: ClassVar[str] = "void"
    idempotency_key: IdempotencyKey
    void: TransactionId


class ReverseItem(ReverseRequest):
    """A transaction to reverse."""

    verb: ClassVar[str] = "reverse"
    idempotency_key: IdempotencyKey
    reverse: TransactionId


def _form(item: Any) -> str:
    # The brackets mark parts of an error's place that are not members of the body (api/http/fields.py).
    if isinstance(item, dict):
        for verb, form in _FORMS:
            if verb in item:
                return form
    return "[post]"


_FORMS = (("settle", "[settle]"), ("void", "[void]"), ("reverse", "[reverse]"))


Item = PostItem | SettleItem | VoidItem | ReverseItem
BatchItem = TypeAliasType(
    "BatchItem",
    Annotated[
        Annotated[PostItem, Tag("[post]")]
        | Annotated[SettleItem, Tag("[settle]")]
        | Annotated[VoidItem, Tag("[void]")]
        | Annotated[ReverseItem, Tag("[reverse]")],
        Discriminator(_form),
    ],
)


BatchMode = TypeAliasType("BatchMode", Literal["atomic", "independent"])


class BatchRequest(Request):
    """Keyed requests to carry out in order, all together or each by itself. The batch itself has no key."""

    mode: BatchMode
    transactions: Annotated[
        list[BatchItem],
        Field(min_length=1, max_length=MAX_ITEMS),
        in_parts(MAX_ITEMS, part=4),
    ]


class PostedResultBody(TypedDict):
    """An item that was carried out."""

    status: Literal[201]
    replayed: bool
    transaction: TransactionBody


class AcceptedResultBody(TypedDict):
    """An item whose key belongs to a request that was accepted, and is not decided yet."""

    status: Literal[202]
    replayed: bool
    operation: OperationBody


class RefusedResultBody(TypedDict):
    """An item that was refused."""

    status: int
    replayed: bool
    problem: Problem


BatchResultBody = TypeAliasType("BatchResultBody", PostedResultBody | AcceptedResultBody | RefusedResultBody)
"""What became of an item: the status and body that answer its single form."""


class BatchResultsBody(TypedDict):
    """One result for each item, in the same order."""

    results: list[BatchResultBody]
