"""Says in plain words what is wrong with a request: a sentence for each kind of error that pydantic reports.

Pydantic's own sentences speak to the author of the model: "Extra inputs are not permitted", "String should match
pattern …". The sentences here tell a caller what would be accepted, and never repeat what was sent.
"""

import re
from collections.abc import Callable, Collection, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Tag
from pydantic_core import ErrorDetails, core_schema
from typing_extensions import TypeAliasType

from api.http.correlation import MAX_CORRELATION_ID_LENGTH
from domain.model.idempotency import KEY_PATTERN
from domain.model.ids import UUID_PATTERN
from domain.model.money import ASSET_PATTERN
from domain.model.streams import ADDRESS_PATTERN, LEDGER_PATTERN
from domain.placement.installations import NAME_PATTERN

METADATA_KEY_PATTERN = r"^[A-Za-z0-9_.-]{1,64}$"
METADATA_PARAMETER_PATTERN = rf"^metadata\.{METADATA_KEY_PATTERN[1:]}"
PREFIX_PATTERN = r"^(?:[A-Za-z0-9_-]{1,64}:){0,9}[A-Za-z0-9_-]{0,64}$"
GRANTED_PATTERN = rf"^(?:\*|{LEDGER_PATTERN[1:-1]})$"
GROUP_PATTERN = r"^segment:(?:[1-9]|10)$"
VISIBLE_PATTERN = rf"^[!-~]{{0,{MAX_CORRELATION_ID_LENGTH}}}$"
NOT_BLANK_PATTERN = r"\S"

_LEDGER = "a ledger's name: 1 to 63 of a-z, 0-9 and -, the first a letter"

FORMS: Mapping[str, str] = {
    ADDRESS_PATTERN: "must be an address such as users:alice:wallet: 1 to 10 segments with : between them, each of 1 to"
    " 64 of A-Z, a-z, 0-9, _ and -",
    PREFIX_PATTERN: "must be the beginning of an address, such as users: or users:al: up to 10 segments with : between"
    " them, each of 1 to 64 of A-Z, a-z, 0-9, _ and -; the last may be empty",
    ASSET_PATTERN: "must be an asset such as USD/2: a code of 1 to 16 of A-Z, 0-9 and _, the first a letter, and a"
    " scale from 0 to 18",
    LEDGER_PATTERN: f"must be {_LEDGER}",
    GRANTED_PATTERN: f"must be {_LEDGER}; or * for every ledger",
    # Of a provider, an installation or a witnessed log: they have one form.
    NAME_PATTERN: "must be a name: 1 to 32 of a-z, 0-9 and -, the first a letter",
    METADATA_PARAMETER_PATTERN: "must be metadata. and a key of metadata",
    METADATA_KEY_PATTERN: "a key of metadata is 1 to 64 of A-Z, a-z, 0-9, _, . and -",
    KEY_PATTERN: 'must be 1 to 255 visible ASCII characters without "/"',
    UUID_PATTERN: "must be an id such as 0b2f7c1e-8d3a-5b6f-9c0d-1e2f3a4b5c6d",
    GROUP_PATTERN: "must be segment:N, N being from 1 to 10",
    VISIBLE_PATTERN: f"must be at most {MAX_CORRELATION_ID_LENGTH} visible ASCII characters",
    NOT_BLANK_PATTERN: "must not be blank",
    r"^[^/]*$": "must be the id of a transaction, without /",
}
"""The words for each form of text, by the pattern that the text must match."""

_TEXT = re.compile(r"\^\[\^\\x00\]\{0,(\d+)\}\$")
_OR_NOTHING = re.compile(r"\^\(\?:(.*)\)\?\$")
_QUOTED = re.compile(r"'([^']*)'")

UNKNOWN = "extra_forbidden"

_INTEGER = "must be a whole number, written without quotes, point or exponent"
_OBJECT = "must be an object"

_Context = Mapping[str, Any]

_WORDS: Mapping[str, Callable[[_Context], str]] = {
    "missing": lambda _: "is missing",
    "string_type": lambda _: "must be text",
    "string_unicode": lambda _: "must be text in UTF-8",
    "string_too_short": lambda context: _at_least(context, "character"),
    "string_too_long": lambda context: _at_most(context, "character"),
    "string_pattern_mismatch": lambda context: form(context["pattern"]),
    "int_type": lambda _: _INTEGER,
    "int_from_float": lambda _: _INTEGER,
    "greater_than_equal": lambda context: f"must be at least {context['ge']}",
    "less_than_equal": lambda context: f"must be at most {context['le']}",
    "bool_type": lambda _: "must be true or false, without quotes",
    "list_type": lambda _: "must be an array",
    "dict_type": lambda _: _OBJECT,
    "model_type": lambda _: _OBJECT,
    "model_attributes_type": lambda _: _OBJECT,
    "too_short": lambda context: _at_least(context, "member"),
    "too_long": lambda context: _at_most(context, "member"),
    "literal_error": lambda context: one_of(_QUOTED.findall(context["expected"])),
    "value_error": lambda context: str(context["error"]),
}


def words_of(found: ErrorDetails) -> str:
    """Return the words for an error about a value."""
    words = _WORDS.get(found["type"])
    if words:
        return words(found.get("ctx", {}))
    return found["msg"] if found["type"] not in _OF_PYDANTIC else "does not have the required form"


_OF_PYDANTIC = frozenset(get_args(core_schema.ErrorType))
"""The kinds of error that pydantic defines. Errors of other kinds already have plain words."""


def words_of_parameter(found: ErrorDetails, query: type[BaseModel]) -> str:
    """Return the words for an error about a parameter; `query` is the model of the parameters."""
    if found["type"] != UNKNOWN:
        return words_of(found)
    names = names_of(query)
    return (
        f"is unknown; the parameters are {', '.join(names)}"
        if names
        else "is unknown; there are no parameters"
    )


def words_of_member(found: ErrorDetails, body: type[BaseModel] | None) -> str:
    """Return the words for an error about a member; `body` is the model of the body, None if it is not known."""
    if found["type"] != UNKNOWN:
        return words_of(found)
    names = names_at(body, found["loc"][:-1])
    return f"is unknown; the members are {', '.join(names)}" if names else "is unknown"


def one_of(names: Collection[str]) -> str:
    """Return that a value must be one of these names. The empty one is accepted too, but not mentioned."""
    return f"must be one of {', '.join(sorted(filter(None, names)))}"


def form(pattern: str) -> str:
    """Return the words for the form of text that a pattern describes."""
    if text := _TEXT.fullmatch(pattern):
        return f"must have at most {text[1]} characters, none of them U+0000"
    if optional := _OR_NOTHING.fullmatch(pattern):
        pattern = f"^{optional[1]}$"
    return FORMS.get(pattern, f"must match {pattern}")


def names_of(model: type[BaseModel]) -> list[str]:
    """Return the names of the parameters or members of a model, in order."""
    return [field.alias or name for name, field in model.model_fields.items()]


def names_at(model: Any, place: Collection[int | str]) -> list[str]:
    """Return the names of the members at a place in a body. The place is pydantic's, which includes the forms of
    choices."""
    for part in place:
        model = _inside(model, part)
    return names_of(model) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _inside(annotation: Any, part: int | str) -> Any:
    """Return the type of a part of an annotated type, None if it has no part of that name."""
    if isinstance(annotation, TypeAliasType):
        return _inside(annotation.__value__, part)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        is_chosen = any(isinstance(mark, Tag) and mark.tag == part for mark in arguments[1:])
        return arguments[0] if is_chosen else _inside(arguments[0], part)
    if origin in (Union, UnionType):
        return next(filter(None, (_inside(argument, part) for argument in arguments)), None)
    if origin is list:
        return arguments[0] if isinstance(part, int) else _inside(arguments[0], part)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return field and field.annotation
    return None


def _at_least(context: _Context, what: str) -> str:
    least = context["min_length"]
    return "must not be empty" if least == 1 else f"must have at least {least} {what}s"


def _at_most(context: _Context, what: str) -> str:
    most = context["max_length"]
    return f"must have at most {most} {what}{'' if most == 1 else 's'}"
