"""Types that many requests and answers share, and the errors of a request as pointers with plain words.

Requests are strict: unknown members are refused, and a number, a text and a boolean are never converted into one
another.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, NotRequired, TypeVar, get_args

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
from pydantic_core import (
    ErrorDetails,
    InitErrorDetails,
    PydanticCustomError,
    PydanticKnownError,
    core_schema,
)
from typing_extensions import TypedDict

from api.http.body import escaped
from api.http.models.choices import Order
from api.http.models.metadata import MetadataFilter
from api.http.words import (
    NOT_BLANK_PATTERN,
    PREFIX_PATTERN,
    words_of_member,
    words_of_parameter,
)
from api.problems import MAX_ERRORS
from domain.model.money import ASSET_PATTERN, MAX_AMOUNT
from domain.model.streams import ADDRESS_PATTERN, LEDGER_PATTERN, MAX_ADDRESS_LENGTH
from domain.model.times import instant
from domain.placement.installations import NAME_PATTERN

MAX_PAGE_SIZE = 1000
BY_METADATA: Final = "metadata.KEY"
"""The common name of all parameters that filter by metadata."""

MAX_POSITION = 2**63 - 1
MAX_REASON_LENGTH = 500
MAX_DIGITS = 400

# RFC 3339 §5.6 ends hours at 23 and minutes at 59, in an offset too.
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:([0-9]{2}))(?:\.([0-9]+))?"
    r"([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_NUMBER = re.compile(r"(-?)([0-9]+)")
_FRACTION_DIGITS = 6
_LEAP_SECOND = "60"


def _instant(text: str) -> str:
    found = _TIME.fullmatch(text)
    if found is None:
        # In a query, + stands for a space. Most who send a space before an offset meant +.
        hint = (
            "; in a query, + is written %2B"
            if " " in text and _TIME.fullmatch(text.replace(" ", "+"))
            else ""
        )
        raise ValueError(f"must be a time of RFC 3339, such as 2026-11-23T20:00:00.000000Z{hint}")
    whole, seconds, fraction, offset = found.groups("")
    if seconds == _LEAP_SECOND:
        raise ValueError("is a leap second, which cannot be stored: name the second before or after it")
    if fraction[_FRACTION_DIGITS:].strip("0"):  # cutting it off would change the time
        raise ValueError("has more than six digits of fraction: times are kept in microseconds")
    try:
        exact = f"{whole}.{fraction[:_FRACTION_DIGITS] or '0'}{offset}"
        return instant(datetime.fromisoformat(exact.upper()).astimezone(UTC))
    except (ValueError, OverflowError):
        raise ValueError("is not a time that exists in the years 1 to 9999") from None


def whole_number(text: object) -> int:
    """Return the whole number that a parameter holds; raise `ValueError`."""
    found = _NUMBER.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError("must be a whole number")
    sign, digits = found[1], found[2].lstrip("0") or "0"
    # A number with this many digits is beyond every limit here. Reading all of a very long one takes too long.
    return int(sign + (digits if len(digits) <= MAX_DIGITS else "9" * MAX_DIGITS))


InstallationName = Annotated[str, Field(pattern=NAME_PATTERN, examples=["east"])]
LedgerName = Annotated[str, Field(pattern=LEDGER_PATTERN, examples=["main"])]
Address = Annotated[
    str, Field(pattern=ADDRESS_PATTERN, max_length=MAX_ADDRESS_LENGTH, examples=["users:alice:wallet"])
]
Asset = Annotated[str, Field(pattern=ASSET_PATTERN, examples=["USD/2"])]
Amount = Annotated[int, Field(ge=1, le=MAX_AMOUNT, description="minor units", examples=[1050])]
AddressPrefix = Annotated[str, Field(pattern=PREFIX_PATTERN, max_length=MAX_ADDRESS_LENGTH)]
Limit = Annotated[int, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)] | None
Time = Annotated[
    str,
    AfterValidator(_instant),
    Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-23T20:00:00.000000Z"]),
]
# The limits come before the validator: it parses the text, and they also stand in the document.
Position = Annotated[int, Field(ge=0, le=MAX_POSITION), BeforeValidator(whole_number)]
Counted = Annotated[int, Field(ge=1, le=MAX_POSITION), BeforeValidator(whole_number)]
PageSize = Annotated[
    int,
    Field(ge=1, description=f"1 … {MAX_PAGE_SIZE}; a larger number counts as {MAX_PAGE_SIZE}"),
    BeforeValidator(whole_number),
    AfterValidator(lambda size: min(size, MAX_PAGE_SIZE)),
]


def in_parts(most: int, part: int) -> WrapValidator:
    """Return a validator that judges a list `part` items at a time and stops after `MAX_ERRORS` errors.

    The models would report every error, at some kilobytes each. A body has room for hundreds of thousands, and an
    answer names only `MAX_ERRORS`. A list of more than `most` items is refused before any item is judged.
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
            # The last part includes a rest that would be too short for a list of its own.
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
    """Return the errors of a part as errors of the whole list, in which `by` items come before the part."""
    found = error.errors(include_url=False, include_input=False)[:MAX_ERRORS]
    return [
        InitErrorDetails(
            type=each["type"] if each["type"] in _KNOWN else _as_custom(each),
            loc=(by + int(each["loc"][0]), *each["loc"][1:]) if each["loc"] else (),
            input=None,
            ctx=each.get("ctx", {}),
        )
        for each in found
    ]


_KNOWN = frozenset(get_args(core_schema.ErrorType))


def _as_custom(found: ErrorDetails) -> PydanticCustomError:
    # The words are the error's own. They come in as a value, so that nothing in them is taken for a template.
    return PydanticCustomError("in_part", "{words}", {"words": found["msg"]})


def _without_defaults(schema: dict[str, Any]) -> None:
    """Take the defaults out of the document.

    A default that is left out and the same default written are different requests (api/README.md, Idempotency). Makers
    of clients would write each, or demand that the caller does.
    """
    for member in schema.get("properties", {}).values():
        member.pop("default", None)


class Request(BaseModel):
    """A request body. Strict; unknown members are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, json_schema_extra=_without_defaults)


class OptionalReason(Request):
    """Why something is done. It is kept with what is done."""

    reason: Annotated[str, Field(max_length=MAX_REASON_LENGTH, examples=["maintenance"])] = ""


class RequiredReason(Request):
    """Why something is done that somebody may ask about later. It is kept with what is done."""

    reason: Annotated[
        str,
        Field(pattern=NOT_BLANK_PATTERN, max_length=MAX_REASON_LENGTH, examples=["the statement shows it"]),
    ]


class Query(BaseModel):
    """The query parameters. Unknown ones are refused: ignoring a misspelled `dry_run` would move money."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _is_true(text: object) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


DryRun = Annotated[
    bool,
    BeforeValidator(_is_true),
    Field(description="`true`: decide and answer as usual, but record nothing"),
]


class ListQuery(Query):
    """The parameters of every list."""

    page_size: PageSize = 100
    cursor: str | None = Field(
        None, min_length=1, description="where the page begins: a `next_cursor` from the same list"
    )
    order: Order = Field("asc", description="oldest first, or newest first")

    @property
    def descending(self) -> bool:
        """Whether the list runs from its end."""
        return self.order == "desc"


class MetadataQuery(Query):
    """The parameters of lists that filter by metadata: `metadata.KEY=VALUE`, gathered from all parameters."""

    metadata: MetadataFilter = Field(
        default_factory=dict,
        alias="metadata.KEY",
        description="`metadata.KEY=VALUE`, any number of times: only items that have all of these",
    )

    @model_validator(mode="before")
    @classmethod
    def _gather_metadata(cls, given: dict[str, str]) -> dict[str, Any]:
        gathered: dict[str, Any] = {}
        for name, value in given.items():
            prefix, dot, key = name.partition(".")
            if prefix == "metadata" and dot:
                gathered.setdefault(BY_METADATA, {})[key] = value
            else:
                gathered[name] = value
        return gathered


class ProjectedQuery(Query):
    """The parameter of every read of a projection."""

    min_position: Position | None = Field(
        None, description="the position that the answer must reflect at least; see `Prefer: wait=S`"
    )


class InstallationQuery(Query):
    """The parameter of every request that can be put to one installation of a placement."""

    installation: Annotated[str, Field(pattern=rf"^(?:{NAME_PATTERN[1:-1]})?$")] = Field(
        "", description="the installation that is asked, in a placement of several"
    )


Item = TypeVar("Item")


class Page(TypedDict, Generic[Item]):
    """One page of a list. `next_cursor` is null on the last page."""

    data: list[Item]
    next_cursor: str | None


class ReflectedBody(TypedDict):
    """What an answer reflects of an installation: up to which position, of which `head`.

    `dead_letters` streams are held behind dead letters, the oldest at position `oldest_dead_letter`, null if none is.
    """

    position: int
    head: int
    dead_letters: int
    oldest_dead_letter: int | None


class SpanningPage(TypedDict, Generic[Item]):
    """One page of a list that spans ledgers. `next_cursor` is null on the last page.

    Only a placement has `unanswered`, the installations that could not answer, whose items are missing; and
    `reflected`, by installation, in place of the headers with positions.
    """

    data: list[Item]
    next_cursor: str | None
    unanswered: NotRequired[list[InstallationName]]
    reflected: NotRequired[dict[str, ReflectedBody]]


# Parts that pydantic adds to the place of an error beside names and numbers: `[key]` means the key of a mapping, the
# others say which form of a choice was taken.
_NOT_IN_BODY = frozenset({"[key]", "[post]", "[settle]", "[void]", "[reverse]"})


def body_errors(error: ValidationError, model: type[BaseModel] | None = None) -> Iterator[tuple[str, str]]:
    """Yield a JSON pointer into the body, and what is wrong there, for each error.

    `model` is the body's model. An error about an unknown member lists the members that it has.
    """
    for found in error.errors(include_url=False, include_input=False):
        yield (
            "".join(f"/{escaped(str(part))}" for part in found["loc"] if part not in _NOT_IN_BODY),
            words_of_member(found, model),
        )


def query_errors(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """Yield `?name`, and what is wrong with that parameter, for each error."""
    told = set()
    for found in error.errors(include_url=False, include_input=False):
        first, *rest = found["loc"]
        name = f"metadata.{rest[0]}" if first == BY_METADATA and rest else str(first)
        if name not in told:  # each alternative of a choice reports its own error
            told.add(name)
            yield f"?{escaped(name)}", words_of_parameter(found, model)
