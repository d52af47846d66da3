"""Pages for people: the OpenAPI document in Swagger UI, served without the internet, and one page for each problem."""

import json
import re
from functools import cache
from html import escape
from importlib.util import find_spec
from pathlib import Path

from api.problem_examples import example_for_page
from api.problem_facts import KEY_USE
from api.problems import ProblemType

_CODE = re.compile("`([^`]+)`")

# The pages load nothing from elsewhere, and cannot be made to.
SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
)

_ASSETS = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
}

_START = b"""window.onload = () => {
  SwaggerUIBundle({url: "/openapi.json", dom_id: "#document", deepLinking: true, persistAuthorization: false});
};
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
{head}</head>
<body>
{body}
</body>
</html>
"""


def document_page() -> str:
    """Return the page that shows the OpenAPI document."""
    head = (
        '<link rel="stylesheet" href="/docs/swagger-ui.css">\n'
        '<script src="/docs/swagger-ui-bundle.js"></script>\n<script src="/docs/start.js"></script>\n'
    )
    return _PAGE.format(title="Tallystick API", head=head, body='<div id="document"></div>')


def problem_page(kind: ProblemType) -> str:
    """Return the page that explains a problem."""
    example = json.dumps(example_for_page(kind.code), indent=2, ensure_ascii=False)
    body = (
        f"<main>\n<h1>{escape(kind.title)}</h1>\n<p>{escape(kind.meaning)}</p>\n"
        f"<p>Code <code>{escape(kind.code)}</code>, status {kind.status}.</p>\n"
        f"<h2>Is the idempotency key used up?</h2>\n<p>{_marked(KEY_USE[kind.key])}</p>\n"
        f"<h2>What to do</h2>\n<p>{_marked(kind.remedy)}</p>\n"
        f"<h2>An example</h2>\n<pre>{escape(example)}</pre>\n"
        '<p>All members are described in <a href="/docs">the documentation</a>, at <code>Problem</code>.</p>\n</main>'
    )
    return _PAGE.format(title=escape(kind.title), head="", body=body)


def _marked(words: str) -> str:
    """Return words as HTML. Text between backquotes becomes code."""
    return _CODE.sub(r"<code>\1</code>", escape(words))


@cache
def asset(name: str) -> tuple[bytes, str] | None:
    """Return a file of the document's page and its media type, None if there is no such file."""
    if name == "start.js":
        return _START, "text/javascript; charset=utf-8"
    if name not in _ASSETS:
        return None
    return (_assets_folder() / name).read_bytes(), _ASSETS[name]


def _assets_folder() -> Path:
    # Located without importing it: only the package's files are needed.
    spec = find_spec("fastapi_offline")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "static"
