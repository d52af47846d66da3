"""JSON bodies: values into requests, answers into typed values. Members that this release does not know are ignored."""

import json
import types
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from functools import cache, partial
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
_Decode = Callable[[Any], Any]


def encode(body: Any) -> bytes:
    """Return a body as it is sent. Raises `ValueError` for numbers that JSON does not have."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def decode(wanted: Callable[..., T], body: Mapping[str, Any]) -> T:
    """Return the value that an answer's body describes. Members that are missing are None."""
    return wanted(*[convert(body.get(name)) for name, convert in _members(wanted)])


@cache
def _members(wanted: Any) -> tuple[tuple[str, _Decode], ...]:
    hints = get_type_hints(wanted)
    return tuple((field.name, _converter(hints[field.name])) for field in fields(wanted))


def _converter(hint: Any) -> _Decode:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return _converter(inner)
    if origin is tuple:
        item = _converter(arguments[0])
        return lambda value: tuple([item(each) for each in value or ()])
    if hint is datetime:
        return _unless_none(datetime.fromisoformat)
    if hint is int:
        return _unless_none(int)  # totals of a ledger are strings of digits
    if hasattr(hint, "__dataclass_fields__"):
        return _unless_none(partial(decode, hint))
    return _unchanged


def _unless_none(convert: _Decode) -> _Decode:
    return lambda value: None if value is None else convert(value)


def _unchanged(value: Any) -> Any:
    return value
