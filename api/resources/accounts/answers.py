"""Answers with an account, and the version that a change of it expects."""

from typing import Any

from api.http.call import Call
from api.http.responses import POSITION, Answer, etag, json_answer, tags
from api.resources.accounts.schemas import account_body
from domain.model.accounts import Account

# No account ever has this version: events are counted from 1.
_NO_VERSION = 0


def shown(
    account: Account, position: int, status: int = 200, headers: dict[str, str] | None = None
) -> Answer:
    """Return an answer with an account, and with the position that it reflects or that covers the change."""
    all_headers = {POSITION: str(position), "ETag": etag(account.version), **(headers or {})}
    return json_answer(status, account_body(account), all_headers)


async def expected_version(call: Call[Any, Any], ledger: str, address: str) -> int | None:
    """Return the version that If-Match demands. None if there is no If-Match, or if it is `*`.

    If there are several tags, the current version counts if it is among them. A tag that no account can have matches
    nothing.
    """
    header = call.headers.get(b"if-match")
    if header is None:
        return None
    given = tags(header.decode("latin-1"))
    if given == ["*"]:
        return None
    if len(given) > 1:
        account, _ = await call.service.read(call.service.ledger.account, ledger, address)
        return account.version if etag(account.version) in given else _NO_VERSION
    number = given[0][1:-1]
    is_version = number.isascii() and number.isdigit() and len(number) < 19 and given[0] == etag(int(number))
    return int(number) if is_version else _NO_VERSION
