"""Batches, many keyed requests in one: requests and answers."""

from typing import Annotated, Any, ClassVar, Literal, NotRequired

from pydantic import AfterValidator, Discriminator, Field, Tag
from typing_extensions import TypedDict

from api.http.fields import Problem, Request, in_parts
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


Item = Annotated[
    Annotated[PostItem, Tag("[post]")]
    | Annotated[SettleItem, Tag("[settle]")]
    | Annotated[VoidItem, Tag("[void]")]
    | Annotated[ReverseItem, Tag("[reverse]")],
    Discriminator(_form),
]


class BatchRequest(Request):
    """Keyed requests to carry out in order, all together or each by itself. The batch itself has no key."""

    mode: Literal["atomic", "independent"]
    transactions: Annotated[
        list[Item],
        Field(min_length=1, max_length=MAX_ITEMS),
        in_parts(MAX_ITEMS, part=4),
    ]


class ResultBody(TypedDict):
    """What became of an item: the status and body that answer its single form."""

    status: int
    replayed: bool
    transaction: NotRequired[TransactionBody]
    operation: NotRequired[OperationBody]
    problem: NotRequired[Problem]


class BatchBody(TypedDict):
    """One result for each item, in the same order."""

    results: list[ResultBody]
