"""The names of models in the OpenAPI document: what a person would call them in a client.

The schema of an account is called `AccountBody` in the code, because `Account` is the domain's. A client knows no other
`Account`.
"""

import re
from collections.abc import Mapping
from typing import Any

PREFIX = "#/components/schemas/"

_PAGE = re.compile(r"(?:[A-Z][A-Za-z]*)?Page_(\w+?)_")
_DATA = frozenset({"default", "example", "examples"})
"""What is shown as data, in which `title` is a member of a problem."""


def name_of(model: str) -> str:
    """Return the name that a model has in the document: `Account` for `AccountBody`, `AccountPage` for a page of it."""
    page = _PAGE.fullmatch(model)
    return f"{name_of(page[1])}Page" if page else model.removesuffix("Body")


def reference(name: str) -> dict[str, str]:
    """Return a reference to the schema of a name."""
    return {"$ref": PREFIX + name}


def union(member: str, names: Mapping[str, str]) -> dict[str, Any]:
    """Return a union of schemas that are told apart by the value of a member. `names` has the schema of each value."""
    return {
        "oneOf": [reference(name) for name in dict.fromkeys(names.values())],
        "discriminator": {
            "propertyName": member,
            "mapping": {value: PREFIX + name for value, name in names.items()},
        },
    }


def named(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document's schemas under the names that its readers see, each with its name as its only title.

    Raises `ValueError` if two schemas would have the same name.
    """
    found = {
        name_of(model): {"title": name_of(model), **renamed(schema)} for model, schema in schemas.items()
    }
    if len(found) < len(schemas):
        raise ValueError(f"two schemas have the same name: {sorted(map(name_of, schemas))}")
    return dict(sorted(found.items()))


def renamed(part: Any) -> Any:
    """Return a part of the document with references to models by their new names, and without titles.

    Pydantic makes a title of each member's name. It says nothing, and some makers of clients name classes by it.
    """
    if isinstance(part, list):
        return [renamed(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        key: value if key in _DATA else _renamed_text(value) if isinstance(value, str) else renamed(value)
        for key, value in part.items()
        if key != "title" or not isinstance(value, str)
    }


def _renamed_text(text: str) -> str:
    return PREFIX + name_of(text.removeprefix(PREFIX)) if text.startswith(PREFIX) else text
