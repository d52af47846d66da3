"""The formats of members of answers. They are only described: the service makes what they hold."""

from typing import Annotated

from pydantic import Field

Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Id = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Path = Annotated[str, Field(json_schema_extra={"format": "uri-reference"})]
Url = Annotated[str, Field(json_schema_extra={"format": "uri"})]
