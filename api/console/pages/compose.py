"""Try: compose a posting, see what it would do, send it, or copy it as curl or Python.

Trying is reading: the address holds the posting and its idempotency key, and a dry run records nothing. So a posting
that was sent cannot be sent again by going back.
"""

import asyncio
import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from api.console.actions.action import Action, action, new_key
from api.console.actions.fields import MOST_DIGITS, Field
from api.console.formats import code_of, figure, scale_of
from api.console.inside import Inside, Reply
from api.console.view import Shown, View, page

ROUTE = "/v1/ledgers/{ledger}/transactions"
ROWS = 4
MAX_ROWS = 12
MAX_ADDRESSES = 200
"""How many accounts are offered while an address is typed. Any other may be written too."""

action(
    Action(
        "post-transaction",
        "Send",
        "Send this posting?",
        "It is recorded for ever under its key. Sending it again under the same key changes nothing.",
        ROUTE,
        fields=(Field("body", "The request", kind="body", is_required=True),),
        leads_to="/ledgers/{ledger}/operations/{key}",
        is_grave=True,
    )
)


class Row(NamedTuple):
    """An entry as it was typed. `error` says what is wrong with it, if anything is."""

    number: int
    account: str = ""
    debit: str = ""
    credit: str = ""
    error: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was typed."""
        return not (self.account or self.debit or self.credit)


@page("/console/ledgers/{ledger}/try", is_live=False)
async def compose(view: View) -> Shown:
    """Show the form, and what the posting in the address would do."""
    rows = _rows(view.query)
    filled = [row for row in rows if not row.is_empty]
    listed, accounts = await asyncio.gather(
        view.api.look(f"/ledgers/{view.ledger}/accounts", page_size=MAX_ADDRESSES),
        _accounts(view.api, view.ledger, sorted({row.account for row in filled if row.account})),
    )
    judged = [row if row.is_empty else _judged(row, accounts) for row in rows]
    values: dict[str, Any] = {
        "rows": judged,
        "addresses": [account["address"] for account in listed.content["data"]]
        if not listed.is_refusal
        else [],
        "asked": view.asked("reference", "description", "pending"),
        "more_rows": min(len(rows) + ROWS, MAX_ROWS),
        "trial": None,
        "why_not": view.why_not("POST", ROUTE),
        "key": view.query.get("key") or new_key(),
        "was_sent": False,
    }
    sentence = "Compose a posting. Nothing is recorded before you send it."
    if filled and not any(row.error for row in judged):
        body = _body(view.query, [row for row in judged if not row.is_empty], accounts)
        values |= await _tried(view, values["key"], body, accounts)
        sentence = _sentence(values["trial"], accounts)
    elif filled:
        sentence = "Something is missing. Nothing was tried yet."
    return Shown("Try a posting", sentence, values, template="compose.html")


def _rows(query: Mapping[str, str]) -> list[Row]:
    wanted = query.get("rows", "")
    given = [name for name in query if name.startswith("account-") and query[name].strip()]
    least = max(int(wanted) if wanted.isdecimal() and len(wanted) < 4 else ROWS, len(given), 2)
    return [
        Row(number, *(query.get(f"{part}-{number}", "").strip() for part in ("account", "debit", "credit")))
        for number in range(1, min(least, MAX_ROWS) + 1)
    ]


async def _accounts(api: Inside, ledger: str, addresses: Sequence[str]) -> dict[str, Any]:
    """Return the accounts that exist, by address, as they are now."""
    replies = await asyncio.gather(
        *(api.look(f"/ledgers/{ledger}/accounts/{address}") for address in addresses)
    )
    return {reply.content["address"]: reply.content for reply in replies if not reply.is_refusal}


def _judged(row: Row, accounts: Mapping[str, Any]) -> Row:
    """Return a row with what is wrong with it."""
    account = accounts.get(row.account)
    if not row.account:
        return row._replace(error="Name the account.")
    if account is None:
        return row._replace(error="There is no such account, or you may not read it.")
    if bool(row.debit) == bool(row.credit):
        return row._replace(error="Give an amount on one side.")
    amount = minor_units(row.debit or row.credit, account["asset"])
    if amount is None:
        scale = scale_of(account["asset"])
        return row._replace(
            error=f"Write an amount above zero with at most {scale} decimals, such as {_sample(scale)}."
        )
    return row


def minor_units(text: str, asset: str) -> int | None:
    """Return a typed figure in minor units of an asset; None if it is no exact positive amount of it.

    `1 234.50` of `USD/2` is 123450. Spaces group thousands. A comma is refused, since it may mean either thing.
    """
    plain = "".join(text.split())
    if not plain.replace(".", "", 1).isdecimal() or not plain.isascii() or len(plain) > MOST_DIGITS:
        return None
    whole, _, fraction = plain.partition(".")
    decimals, scale = fraction.rstrip("0"), scale_of(asset)
    amount = int(whole + decimals.ljust(scale, "0"))
    return amount if len(decimals) <= scale and amount else None


def _sample(scale: int) -> str:
    return f"10.{'50'[:scale].ljust(scale, '0')}" if scale else "10"


def _body(query: Mapping[str, str], rows: Sequence[Row], accounts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of the request that posts these rows."""
    entries = [
        {
            "account": row.account,
            "direction": "debit" if row.debit else "credit",
            "amount": minor_units(row.debit or row.credit, accounts[row.account]["asset"]),
        }
        for row in rows
    ]
    texts = {
        name: query[name].strip() for name in ("reference", "description") if query.get(name, "").strip()
    }
    return {"entries": entries, **({"pending": True} if query.get("pending") else {}), **texts}


async def _tried(
    view: View, key: str, body: Mapping[str, Any], accounts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a dry run of the request says, and the request in the words of programs."""
    path = f"/ledgers/{view.ledger}/transactions"
    trial = await view.api.call(
        "POST", path, query={"dry_run": "true"}, body=body, headers={"idempotency-key": key}
    )
    return {
        "trial": trial,
        "was_sent": _was_sent(trial),
        "sides": list(_sides(trial, accounts)),
        "body": json.dumps(body),
        "curl": _curl(path, key, body),
        "python": _python(path, key, body),
    }


def _sides(trial: Reply, accounts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each account with its balance before and after."""
    if trial.is_refusal or _was_sent(trial):
        return
    made = trial.content
    for address in dict.fromkeys(entry["account"] for entry in made["entries"]):
        account = accounts[address]
        entries = [
            {**entry, "asset": account["asset"]} for entry in made["entries"] if entry["account"] == address
        ]
        change = sum(
            entry["amount"] * (1 if entry["direction"] == account["normal_side"] else -1) for entry in entries
        )
        is_pending = made["status"] == "pending"
        # A hold leaves the balance; only an outflow lowers what is available.
        available = account["available"] + (min(change, 0) if is_pending else change)
        yield {
            "account": account,
            "entries": entries,
            "balance_after": account["balance"] + (0 if is_pending else change),
            "available_after": available,
        }


def _was_sent(trial: Reply) -> bool:
    """Whether the answer is that of a request sent before, which a dry run of the same request repeats."""
    return trial.headers.get("idempotent-replayed") == "true"


def _sentence(trial: Reply, accounts: Mapping[str, Any]) -> str:
    if _was_sent(trial):
        return "This posting was sent already. Sending it again would change nothing."
    if trial.is_refusal:
        return f"The ledger would refuse it now: {trial.content['title']}. Nothing was recorded."
    totals: Counter[str] = Counter()
    for entry in trial.content["entries"]:
        if entry["direction"] == "debit":
            totals[accounts[entry["account"]]["asset"]] += entry["amount"]
    said = " and ".join(f"{figure(amount, asset)} {code_of(asset)}" for asset, amount in totals.items())
    verb = "hold" if trial.content["status"] == "pending" else "move"
    return f"It would {verb} {said}. Nothing was recorded yet."


def _curl(path: str, key: str, body: Mapping[str, Any]) -> str:
    """Return the request as a command of a shell, which takes what the page's address says only as words.

    The service's address and the key come from variables.
    """
    return (
        f'curl -sS "$TALLYSTICK_URL"{shlex.quote(f"/v1{path}")} \\\n'
        '  -H "Authorization: Bearer $TALLYSTICK_KEY" \\\n'
        f"  -H 'Content-Type: application/json' -H {shlex.quote(f'Idempotency-Key: {key}')} \\\n"
        f"  -d {shlex.quote(json.dumps(body))}"
    )


def _python(path: str, key: str, body: Mapping[str, Any]) -> str:
    """Return the request as a program that needs nothing but Python."""
    return (
        "import json, os, urllib.request\n\n"
        f"body = {body!r}\n"
        "request = urllib.request.Request(\n"
        f'    os.environ["TALLYSTICK_URL"] + {"/v1" + path!r},\n'
        "    json.dumps(body).encode(),\n"
        "    {\n"
        '        "Authorization": "Bearer " + os.environ["TALLYSTICK_KEY"],\n'
        '        "Content-Type": "application/json",\n'
        f'        "Idempotency-Key": {key!r},\n'
        "    },\n"
        ")\n"
        "print(urllib.request.urlopen(request).read().decode())"
    )
