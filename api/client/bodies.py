"""JSON bodies: values into requests, and answers into typed values, or a refusal of what is not the ledger's answer."""

import json
import types
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from functools import cache, partial
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
_Decode = Callable[[Any], Any]


def encode(body: Any) -> bytes:
    """Return a body as it is sent. Raises `ValueError` for numbers that JSON does not have."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def canonical(body: Any) -> bytes:
    """Return a body with its members in order: the same bytes for every spelling of it."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def decode(wanted: Callable[..., T], body: Any) -> T:
    """Return the value that an answer's body describes. Members that this release does not know are ignored.

    Raises `ValueError` if a member has another type, or is missing and its type does not include None. So whatever else
    answers with a status of success is not taken for the ledger.
    """
    if not isinstance(body, Mapping):
        raise ValueError(f"{type(body).__name__} instead of an object")
    return wanted(*[convert(body.get(name)) for name, convert in _members(wanted)])


@cache
def _members(wanted: Any) -> tuple[tuple[str, _Decode], ...]:
    hints = get_type_hints(wanted)
    return tuple((field.name, _converter(hints[field.name])) for field in fields(wanted))


def _converter(hint: Any) -> _Decode:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (inner,) = [_converter(argument) for argument in arguments if argument is not type(None)]
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        item = _converter(arguments[0])
        return lambda value: tuple([item(each) for each in _list(value)])
    if hint is datetime:
        return lambda value: datetime.fromisoformat(_text(value))
    if hasattr(hint, "__dataclass_fields__"):
        return partial(decode, hint)
    # The words of a Literal are not looked at: a later release may have more.
    return {int: _whole, str: _text, Literal: _text, dict: _object}.get(origin or hint, _unchanged)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"{value!r:.80} is no text")


def _whole(value: Any) -> int:
    if type(value) is int:
        return value
    # Totals of a ledger are strings of digits.
    if isinstance(value, str):
        return int(value)
    raise ValueError(f"{value!r:.80} is no whole number")


def _list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    raise ValueError(f"{value!r:.80} is no list")


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ValueError(f"{value!r:.80} is no object")


def _unchanged(value: Any) -> Any:
    return value
