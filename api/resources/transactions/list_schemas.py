"""The filters of the list of transactions."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from api.http.correlation import MAX_CORRELATION_ID_LENGTH
from api.http.fields import AddressPrefix, ListQuery, MetadataQuery, ProjectedQuery, Time
from api.http.models.choices import TransactionKind, TransactionStatus
from domain.model.streams import ADDRESS_PATTERN, MAX_ADDRESS_LENGTH

MAX_REFERENCE_LENGTH = 255

Bound = Annotated[
    Time | None,
    BeforeValidator(lambda text: text or None),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "maxLength": 0}]}
    ),
]


class TransactionsQuery(MetadataQuery, ListQuery, ProjectedQuery):
    """The filters of the list of transactions. An empty filter is no filter."""

    account: Annotated[
        str, Field(pattern=f"^(?:{ADDRESS_PATTERN[1:-1]})?$", max_length=MAX_ADDRESS_LENGTH)
    ] = Field("", description="only transactions with an entry on this account")
    prefix: AddressPrefix = Field(
        "", description="only transactions with an entry on an account whose address begins with this"
    )
    reference: Annotated[str, Field(pattern=rf"^[^\x00]{{0,{MAX_REFERENCE_LENGTH}}}$")] = ""
    status: TransactionStatus | Literal[""] = ""
    kind: TransactionKind | Literal[""] = ""
    correlation_id: Annotated[str, Field(pattern=rf"^[!-~]{{0,{MAX_CORRELATION_ID_LENGTH}}}$")] = Field(
        "", description="only transactions of requests with this correlation id, and what they caused"
    )
    recorded_from: Bound = Field(None, description="recorded at this time or later")
    recorded_to: Bound = Field(None, description="recorded before this time")
    effective_from: Bound = Field(None, description="effective at this time or later")
    effective_to: Bound = Field(None, description="effective before this time")
