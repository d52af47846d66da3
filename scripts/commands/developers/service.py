"""A running service as a command calls it: by its URL, with an API key."""

from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx2
import typer

from scripts.console import fail

TIMEOUT_SECONDS = 30.0


def _is_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one:
        raise typer.BadParameter(f"{url!r} is no URL such as http://127.0.0.1:8000")
    return url.rstrip("/")


def is_key(key: str) -> str:
    """Return an API key without the space around it; refuse other texts as wrong use."""
    if not key.isascii() or not key.isprintable() or not key.strip():
        raise typer.BadParameter("a key is visible ASCII text such as tk_…")
    return key.strip()


Url = Annotated[
    str, typer.Option(envvar="TALLYSTICK_URL", parser=_is_url, metavar="URL", help="Where the service is")
]
ApiKey = Annotated[
    str,
    typer.Option(
        "--key",
        envvar=["TALLYSTICK_KEY", "TALLYSTICK_BOOTSTRAP_KEY"],
        parser=is_key,
        metavar="KEY",
        help="An API key with the roles client and operator on every ledger, such as the bootstrap key",
    ),
]


class CallableService:
    """A service to call. Commands that call it may be repeated, so they say so when an answer is lost."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False)

    def send(self, method: str, path: str, body: Any = None, key: str | None = None) -> httpx2.Response:
        """Return the answer to a request. If there is none, say so and exit 3."""
        headers = {"Idempotency-Key": key} if key else {}
        try:
            return self._http.request(method, path, json=body, headers=headers)
        except httpx2.TransportError as error:
            why = str(error) or type(error).__name__
            fail(
                f"{self.url} does not answer ({why}); what was done is kept, and the command may be repeated"
            )

    def done(self, method: str, path: str, body: Any = None, key: str | None = None) -> httpx2.Response:
        """Return an answer that did what was asked. Otherwise say what the answer says, and exit 3."""
        answer = self.send(method, path, body, key)
        if not answer.is_success:
            fail(f"{method} {path}: {said(answer)}")
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def said(answer: httpx2.Response) -> str:
    """Return what an answer says: a problem's code and detail, or the status of whatever else answered."""
    try:
        problem = answer.json()
        return f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"answered {answer.status_code}, not as this service answers"
