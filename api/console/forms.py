"""Forms as browsers send them, and what tells that the console itself sent them."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, urlsplit

from starlette.types import Receive, Scope

from api.http.body import read_body
from api.problems import BodyTooLarge, Forbidden, MalformedRequest, UnsupportedMediaType

MAX_FORM_BYTES = 1024 * 1024
MAX_FIELDS = 5_000
FORM = b"application/x-www-form-urlencoded"


def no_room(size: int) -> None:
    """Refuse a large form; raise `BodyTooLarge`. Whoever is not signed in has no room for one."""
    raise BodyTooLarge


async def read_form(
    scope: Scope, receive: Receive, make_room: Callable[[int], None] = no_room
) -> dict[str, str]:
    """Return the fields of a form; of a field that was given twice, the last.

    `make_room` is called with the size of a large form, as `read_body` does. Raises `UnsupportedMediaType` if the body
    is no form, the refusals of `read_body`, and `MalformedRequest` if it cannot be read.
    """
    headers: Mapping[bytes, bytes] = scope["head"].headers
    if not headers.get(b"content-type", b"").startswith(FORM):
        raise UnsupportedMediaType("Send the form as application/x-www-form-urlencoded.")
    sent = await read_body(receive, headers, MAX_FORM_BYTES, make_room)
    try:
        return dict(
            parse_qsl(sent.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
        )
    except ValueError:
        raise MalformedRequest("The form cannot be read.") from None


def cookie_of(headers: Mapping[bytes, bytes], name: str) -> str:
    """Return the value of a cookie, empty if it is not there. Other programs of the host may have theirs."""
    pairs = (pair.partition("=") for pair in headers.get(b"cookie", b"").decode("latin-1").split(";"))
    return next((value.strip() for given, _, value in pairs if given.strip() == name), "")


def csrf_of(token: str) -> str:
    """Return what the forms of a session carry. It tells nothing of the session's token."""
    return hashlib.sha256(f"form:{token}".encode()).hexdigest()


def seal_of(token: str, *words: str) -> str:
    """Return what proves that words in an address come from this session, and were not made up by a link."""
    return hmac.new(token.encode(), "\n".join(words).encode(), hashlib.sha256).hexdigest()[:32]


def require_own(form: Mapping[str, str], token: str) -> None:
    """Check that a page of this session made a form; raise `Forbidden`."""
    if not hmac.compare_digest(form.get("csrf", "").encode(), csrf_of(token).encode()):
        raise Forbidden(
            "This form was not made by your session. Go back, reload the page, and send it again."
        )


def require_same_origin(scope: Scope) -> None:
    """Check that no page of another site sent a form; raise `Forbidden`.

    Browsers say where a request comes from (Fetch Metadata; RFC 6454). Whoever says nothing is no browser, and then
    nobody's session is at stake.
    """
    headers: Mapping[bytes, bytes] = scope["head"].headers
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if site is not None:
        is_own = site in (b"same-origin", b"none")
    else:
        is_own = origin is None or urlsplit(origin.decode("latin-1")).netloc.encode() == headers.get(b"host")
    if not is_own:
        raise Forbidden("This form came from a page of another site.")
