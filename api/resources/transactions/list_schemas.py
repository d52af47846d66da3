"""The list of transactions, as it is asked for."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from api.http.correlation import MAX_CORRELATION_ID_LENGTH
from api.http.fields import AddressPrefix, ListQuery, MetadataQuery, ProjectedQuery, Time
from domain.model.streams import ADDRESS_PATTERN, MAX_ADDRESS_LENGTH
from domain.model.transactions import Kind, Status

MAX_REFERENCE_LENGTH = 255

Bound = Annotated[
    Time | None,
    BeforeValidator(lambda text: text or None),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "maxLength": 0}]}
    ),
]


class TransactionsQuery(MetadataQuery, ListQuery, ProjectedQuery):
    """The list of transactions, by when they were recorded; an empty filter filters nothing."""

    account: Annotated[
        str, Field(pattern=f"^(?:{ADDRESS_PATTERN[1:-1]})?$", max_length=MAX_ADDRESS_LENGTH)
    ] = Field("", description="the address of an account among the entries")
    prefix: AddressPrefix = Field(
        "", description="what the address of an account among the entries begins with"
    )
    reference: Annotated[str, Field(pattern=rf"^[^\x00]{{0,{MAX_REFERENCE_LENGTH}}}$")] = ""
    status: Literal[Status, ""] = ""
    kind: Literal[Kind, ""] = ""
    correlation_id: Annotated[str, Field(pattern=rf"^[!-~]{{0,{MAX_CORRELATION_ID_LENGTH}}}$")] = Field(
        "", description="that of the request, and of all that the same conversation caused"
    )
    recorded_from: Bound = Field(None, description="inclusive")
    recorded_to: Bound = Field(None, description="exclusive")
    effective_from: Bound = Field(None, description="inclusive")
    effective_to: Bound = Field(None, description="exclusive")
