"""Templates made into pages. Values are escaped wherever they stand."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from api.console.actions.action import ACTIONS
from api.console.formats import FILTERS, with_query
from domain.model.idempotency import is_key
from projections.diagnosis.glossary import term

_FOLDER = Path(__file__).parent

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

SECURITY = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""The headers of every answer of the console: it loads nothing from elsewhere, and no other page may hold it."""


@cache
def files() -> Mapping[str, tuple[bytes, str]]:
    """Return the static files by name, each with its media type."""
    folder = _FOLDER / "static"
    return {path.name: (path.read_bytes(), MEDIA_TYPES[path.suffix]) for path in sorted(folder.iterdir())}


@cache
def version_of_files() -> str:
    """Return a name of the static files as they are. It is in their addresses, so that browsers may keep them."""
    digest = hashlib.sha256()
    for content, _ in files().values():
        digest.update(content)
    return digest.hexdigest()[:12]


def rendered(template: str, values: Mapping[str, Any]) -> bytes:
    """Return a page."""
    return _environment().get_template(template).render(values).encode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(FILTERS)
    environment.tests["client_key"] = lambda key: key is not None and is_key(key)
    environment.globals["static"] = lambda name: f"/console/static/{version_of_files()}/{name}"
    environment.globals["with_query"] = with_query
    environment.globals["button"] = _button
    environment.globals["term"] = term
    return environment


@pass_context
def _button(
    context: Context,
    action: str,
    /,
    label: str = "",
    unsafe: str | None = None,
    given: Mapping[str, Any] | None = None,
    **names: Any,
) -> Markup:
    """Return the link to an action's page, greyed with the reason if it is `unsafe` or the caller may not do it.

    `given` are values that the form has at first.
    """
    view, declared = context["view"], ACTIONS[action]
    why = unsafe or view.why_not(declared.method, declared.route, names.get("ledger"))
    words = label or declared.label
    if why is not None:
        return Markup(
            '<span class="button" aria-disabled="true" title="{0}">{1} <small>{0}</small></span>'
        ).format(why, words)
    kind = "grave button" if declared.is_grave else "button"
    return Markup('<a class="{}" href="{}">{}</a>').format(kind, declared.page_of(given, **names), words)
