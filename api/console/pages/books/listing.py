"""What the lists of a ledger's books share: the filters of their addresses, as parameters of the API."""

from collections.abc import Mapping

from api.console.view import View

PAGE_SIZE = 50


def filters_of(view: View, *names: str) -> dict[str, str | None]:
    """Return the filters that an address names, with any by metadata.

    A form sends a filter by metadata as the two fields `metadata_key` and `metadata_value`.
    """
    by_metadata: dict[str, str | None] = {
        name: value for name, value in view.query.items() if name.startswith("metadata.")
    }
    if key := view.query.get("metadata_key"):
        by_metadata[f"metadata.{key}"] = view.query.get("metadata_value", "")
    return {**view.asked("cursor", "order", *names), **by_metadata}


def metadata_in(query: Mapping[str, str]) -> tuple[str, str]:
    """Return the key and value of the filter by metadata, as the fields of the form hold them."""
    for name, value in query.items():
        if name.startswith("metadata."):
            return name.removeprefix("metadata."), value
    return query.get("metadata_key", ""), query.get("metadata_value", "")


def counted(many: int, noun: str, *, is_all: bool) -> str:
    """Return how many things a page lists, such as `50 accounts and more`."""
    words = f"{many} {noun}{'' if many == 1 else 's'}"
    return words if is_all else f"{words}, and there are more"
