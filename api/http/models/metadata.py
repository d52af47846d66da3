"""Metadata: texts of a client's own, by their keys. They come with requests and answers, and lists filter by them."""

from typing import Annotated

from pydantic import Field, WithJsonSchema
from typing_extensions import TypeAliasType

from api.http.words import METADATA_KEY_PATTERN, METADATA_PARAMETER_PATTERN

MAX_METADATA = 50
MAX_METADATA_LENGTH = 512

Metadata = TypeAliasType(
    "Metadata",
    Annotated[
        dict[
            Annotated[str, Field(pattern=METADATA_KEY_PATTERN)],
            Annotated[str, Field(max_length=MAX_METADATA_LENGTH)],
        ],
        Field(max_length=MAX_METADATA),
        # Pydantic would describe the members by `patternProperties`, which makers of clients do not read.
        WithJsonSchema(
            {
                "type": "object",
                "description": "Texts of the client's own, by their keys.",
                "propertyNames": {"pattern": METADATA_KEY_PATTERN},
                "additionalProperties": {"type": "string", "maxLength": MAX_METADATA_LENGTH},
                "maxProperties": MAX_METADATA,
                "examples": [{"customer": "42"}],
            }
        ),
    ],
)

MetadataFilter = TypeAliasType(
    "MetadataFilter",
    Annotated[
        dict[
            Annotated[str, Field(pattern=METADATA_KEY_PATTERN)],
            Annotated[str, Field(pattern=rf"^[^\x00]{{0,{MAX_METADATA_LENGTH}}}$")],
        ],
        WithJsonSchema(
            {
                "type": "object",
                "description": "Values of metadata, each by its key behind `metadata.`: `metadata.customer`.",
                "propertyNames": {"pattern": METADATA_PARAMETER_PATTERN},
                "additionalProperties": {"type": "string", "maxLength": MAX_METADATA_LENGTH},
                "examples": [{"metadata.customer": "42"}],
            }
        ),
    ],
)
