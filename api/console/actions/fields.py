"""Fields of forms, and the members of a request's body that they become."""

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from api.problems import MalformedRequest

NO_LIMIT = "none"
"""How a form says that there is no limit."""

MOST_DIGITS = 30
"""Beyond any number that the API takes. Python refuses to read a very long one."""

Kind = Literal["text", "whole", "limit", "list", "json", "choice", "confirm", "fixed", "body"]


class Field(NamedTuple):
    """A field of a form, and the member of the request's body that it becomes. A field left empty is left out.

    `kind` says how it is shown and read. A `whole` number becomes a JSON number, and so does a `limit`, which may be
    negative or `none`. A `list` becomes an array: of the `choices` that are ticked, or of what is written between
    commas. `json` is written as JSON. A `fixed` field is not shown. Nor is a `body`, which is the whole body as JSON.
    `given` is the field's value at first. `meanings` say of choices what they do.
    """

    name: str
    label: str
    kind: Kind = "text"
    is_required: bool = False
    hint: str = ""
    choices: tuple[str, ...] = ()
    given: str = ""
    meanings: Mapping[Any, str] = {}

    def members(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Return what a filled form adds to the body; raise `MalformedRequest` if a whole body cannot be read.

        A number or JSON that cannot be read stays text. The API then says what is wrong with it.
        """
        given = self.given if self.kind == "fixed" else form.get(self.name, "").strip()
        if self.kind == "body":
            return _object(given)
        if self.kind == "list":
            listed = self._listed(form)
            return {self.name: listed} if listed else {}
        return {self.name: _value(self.kind, given)} if given else {}

    def _listed(self, form: Mapping[str, str]) -> list[str]:
        if self.choices:
            return [choice for choice in self.choices if f"{self.name}.{choice}" in form]
        return [part.strip() for part in form.get(self.name, "").split(",") if part.strip()]


def _value(kind: Kind, text: str) -> Any:
    if kind == "limit" and text == NO_LIMIT:
        return None
    if kind in ("whole", "limit") and text.isascii() and text.removeprefix("-").isdecimal():
        return int(text) if len(text) <= MOST_DIGITS else text
    if kind == "json":
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _object(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise MalformedRequest("The form cannot be read.")
    return body


REASON = Field("reason", "Reason", is_required=True, hint="Kept for ever, with your key's name.")
"""The reason that routes demand."""

ANY_REASON = REASON._replace(is_required=False)
