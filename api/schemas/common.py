"""Types that many requests and answers share, and turning what is wrong with a request into pointers.

Requests are strict: unknown members are refused, and numbers, texts and booleans are never taken for one another.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError, PydanticKnownError
from typing_extensions import TypedDict

from api.body import escaped
from api.problems import MAX_ERRORS
from domain.addresses import ADDRESS_PATTERN, LEDGER_PATTERN, MAX_ADDRESS_LENGTH
from domain.money import ASSET_PATTERN, MAX_AMOUNT
from domain.times import instant

MAX_PAGE_SIZE = 1000
MAX_POSITION = 2**63 - 1
METADATA_KEY_PATTERN = r"^[A-Za-z0-9_.-]{1,64}$"

# RFC 3339 §5.6, with no finer fraction than is kept: cutting one off would change what was said.
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[Zz]|[+-]\d\d:\d\d)")
_DIGITS = re.compile(r"-?\d{1,400}")


def _instant(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise ValueError("must be a time of RFC 3339, such as 2026-11-23T20:00:00.000000Z")
    try:
        return instant(datetime.fromisoformat(text.upper()).astimezone(UTC))
    except (ValueError, OverflowError):
        raise ValueError("is no time that exists in the years 1 to 9999") from None


def whole_number(text: object) -> int:
    """Return the whole number that a parameter is written as; raise `ValueError`."""
    if not isinstance(text, str) or not _DIGITS.fullmatch(text):
        raise ValueError("must be a whole number")
    return int(text)


LedgerName = Annotated[str, Field(pattern=LEDGER_PATTERN, examples=["main"])]
Address = Annotated[
    str, Field(pattern=ADDRESS_PATTERN, max_length=MAX_ADDRESS_LENGTH, examples=["users:alice:wallet"])
]
Asset = Annotated[str, Field(pattern=ASSET_PATTERN, examples=["USD/2"])]
Amount = Annotated[int, Field(ge=1, le=MAX_AMOUNT, description="minor units", examples=[1050])]
AddressPrefix = Annotated[str, Field(pattern=r"^[A-Za-z0-9_:-]*$", max_length=MAX_ADDRESS_LENGTH)]
Limit = Annotated[int, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)] | None
Metadata = Annotated[
    dict[Annotated[str, Field(pattern=METADATA_KEY_PATTERN)], Annotated[str, Field(max_length=512)]],
    Field(max_length=50, examples=[{"customer": "42"}], json_schema_extra={"additionalProperties": False}),
]
Time = Annotated[
    str,
    AfterValidator(_instant),
    Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-23T20:00:00.000000Z"]),
]
# Bounds come before the validator: it is for what the number is written as, they are for the document as well.
Position = Annotated[int, Field(ge=0, le=MAX_POSITION), BeforeValidator(whole_number)]
Counted = Annotated[int, Field(ge=1, le=MAX_POSITION), BeforeValidator(whole_number)]
PageSize = Annotated[
    int,
    Field(ge=1, description=f"1 … {MAX_PAGE_SIZE}; more is taken for {MAX_PAGE_SIZE}"),
    BeforeValidator(whole_number),
    AfterValidator(lambda size: min(size, MAX_PAGE_SIZE)),
]


def in_parts(most: int, part: int) -> WrapValidator:
    """Return what validates a list `part` items at a time, and no more of it after `MAX_ERRORS` errors.

    The models find every error there is, each of some kilobytes; a body has room for hundreds of thousands, and nobody
    is told more than `MAX_ERRORS`. A list of more than `most` items is refused before any of them is looked at.
    """

    def validate(items: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if type(items) is not list or len(items) <= part:
            return handler(items)
        if len(items) > most:
            facts = {"field_type": "List", "max_length": most, "actual_length": len(items)}
            raise PydanticKnownError("too_long", facts)
        taken: list[Any] = []
        wrong: list[InitErrorDetails] = []
        begin = 0
        while begin < len(items) and len(wrong) < MAX_ERRORS:
            # The last part takes what would be too short for a list of its own.
            end = begin + part if len(items) - begin >= 2 * part else len(items)
            try:
                taken += handler(items[begin:end])
            except ValidationError as error:
                wrong += _moved(error, begin)
            begin = end
        if wrong:
            raise ValidationError.from_exception_data("list", wrong)
        return taken

    return WrapValidator(validate)


def _moved(error: ValidationError, by: int) -> list[InitErrorDetails]:
    """Return the errors of a part as those of the whole list, which has so many items before the part."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[:MAX_ERRORS]
    return [
        InitErrorDetails(
            # The words are those of the error: as a template they have nothing to fill in.
            type=PydanticCustomError("in_part", "{words}", {"words": each["msg"]}),
            loc=(by + int(each["loc"][0]), *each["loc"][1:]) if each["loc"] else (),
            input=None,
        )
        for each in found
    ]


class Request(BaseModel):
    """A body: strict, and without unknown members."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Reasoned(Request):
    """What an operator asks for, and why: text that is kept with it."""

    reason: Annotated[str, Field(max_length=500, examples=["maintenance"])] = ""


class Query(BaseModel):
    """The parameters of a query. Unknown ones are refused: to ignore `dry_run` would be to move money."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ListQuery(Query):
    """What every list takes."""

    page_size: PageSize = 100
    cursor: str | None = Field(
        None, min_length=1, description="where the page begins: a `next_cursor` of the same list"
    )
    order: Literal["asc", "desc"] = Field("asc", description="oldest first, or newest first")

    @property
    def descending(self) -> bool:
        """Whether the list runs from its end."""
        return self.order == "desc"


class MetadataQuery(Query):
    """What lists take that are filtered by metadata: `metadata.KEY=VALUE`, gathered from all parameters."""

    metadata: Annotated[
        dict[
            Annotated[str, Field(pattern=METADATA_KEY_PATTERN)],
            Annotated[str, Field(pattern=r"^[^\x00]{0,512}$")],
        ],
        Field(description="`metadata.KEY=VALUE`, as often as wanted: those that have all of these"),
    ] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather_metadata(cls, given: dict[str, str]) -> dict[str, Any]:
        gathered: dict[str, Any] = {}
        for name, value in given.items():
            prefix, dot, key = name.partition(".")
            if prefix == "metadata" and dot:
                gathered.setdefault("metadata", {})[key] = value
            else:
                gathered[name] = value
        return gathered


class ProjectedQuery(Query):
    """What every read of a projection takes."""

    min_position: Position | None = Field(
        None, description="the position that the answer must reflect; see `Prefer: wait=S`"
    )


Item = TypeVar("Item")


class Page(TypedDict, Generic[Item]):
    """A page of a list; `next_cursor` is null on the last one."""

    data: list[Item]
    next_cursor: str | None


class Problem(TypedDict):
    """A problem of RFC 9457. Some codes have members of their own beside these."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    correlation_id: str


# What pydantic puts into the place of an error beside names and numbers: of a mapping, that its key is meant; of a
# choice, which of its forms was taken.
_NOT_IN_BODY = frozenset({"[key]", "[post]", "[settle]", "[void]", "[reverse]"})


def body_errors(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Yield a JSON pointer into the body, and what is wrong there, for each error."""
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        yield (
            "".join(f"/{escaped(str(part))}" for part in found["loc"] if part not in _NOT_IN_BODY),
            _words(found),
        )


def query_errors(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Yield `?name`, and what is wrong with that parameter, for each error."""
    told = set()
    for found in error.errors(include_url=False, include_context=False, include_input=False):
        parts = found["loc"][:2] if found["loc"][:1] == ("metadata",) else found["loc"][:1]
        name = ".".join(str(part) for part in parts)
        if name not in told:  # of a choice, each alternative reports its own error
            told.add(name)
            yield f"?{escaped(name)}", _words(found)


def _words(error: ErrorDetails) -> str:
    return error["msg"].removeprefix("Value error, ")
