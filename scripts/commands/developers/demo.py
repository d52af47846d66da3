"""`tallystick demo`: fills a ledger of a small shop, so that every page and command has something to show."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from time import monotonic, sleep
from typing import Annotated, Any

import typer

from domain.model.idempotency import operation_id
from scripts.calls import as_called
from scripts.commands.developers import shop
from scripts.commands.developers.service import ApiKey, CallableService, Url, said
from scripts.console import fail
from scripts.table import print_aligned

FIRST_DAY = "demo_first_day"
"""The member of the ledger's metadata that marks it as the demo's, and keeps the week at its place."""

PAYOUT_SECONDS = 15.0
POLL_SECONDS = 0.2
SILENT = "https://hooks.shop.invalid/ledger"
"""Names under .invalid lead nowhere, for ever (RFC 6761), so what is sent there fails."""
DISABLED = "https://archive.shop.invalid/ledger"


def demo(
    key: ApiKey,
    url: Url = "http://127.0.0.1:8000",
    ledger: Annotated[str, typer.Option(help="The ledger to make and fill")] = "shop",
    webhook: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A receiver of yours to register too, such as `tallystick listen`; on loopback, the service must allow"
            " private addresses and plain http",
        ),
    ] = None,
) -> None:
    """Fill a ledger with a week of a small shop, through the API of a running service. Run twice, nothing doubles.

    There are orders, holds, refunds, a refusal, payouts in every state, webhooks, and a frozen and a closed account.
    """
    with closing(CallableService(url, key)) as service:
        first = _opened(service, ledger)
        # First, since a webhook is told only of what happens after it was registered.
        hooks = list(_webhooks(service, ledger, webhook))
        made = _filled(service, ledger, first)
        states = _paid_out(service, ledger)
    typer.echo(f"The ledger {ledger} of {url} has a week of a small shop:")
    typer.echo("  " + ", ".join(f"{count} × {kind}" for kind, count in made.items()))
    typer.echo("  payouts: " + (", ".join(states) or "none, since the service has no provider `simulator`"))
    for line in hooks:
        typer.echo(f"  {line}")
    _say_where_to_look(url, ledger)


def _filled(service: CallableService, ledger: str, first: date) -> Counter[str]:
    """Do every step of the shop; return how many there are of each kind."""
    path = f"/v1/ledgers/{ledger}"
    made: Counter[str] = Counter()
    for step in shop.steps(ledger, first):
        answer = service.send(step.method, f"{path}/{step.path}", step.body, step.key)
        if not (answer.status_code == 409 if step.refused else answer.is_success):
            fail(f"{step.kind} {step.key or step.path}: {said(answer)}")
        made[step.kind] += 1
    return made


def _opened(service: CallableService, ledger: str) -> date:
    """Open the ledger unless it is there; return the first day of its week. Exit 3 if it is not the demo's."""
    answer = service.send("GET", f"/v1/ledgers/{ledger}")
    if answer.status_code == 404:
        first = datetime.now(UTC).date() - timedelta(shop.DAYS)
        body = {"name": ledger, "metadata": {FIRST_DAY: first.isoformat()}}
        answer = service.done("POST", "/v1/ledgers", body)
    elif not answer.is_success:
        fail(said(answer))
    try:
        return date.fromisoformat(answer.json()["metadata"][FIRST_DAY])
    except (KeyError, ValueError):
        fail(f"the ledger {ledger} was not made by this command; name another one with --ledger")


def _paid_out(service: CallableService, ledger: str) -> list[str]:
    """Request the payouts and wait until they stand as intended; return their states, none without a simulator."""
    path = f"/v1/ledgers/{ledger}/payouts"
    for step in shop.payouts():
        answer = service.send("POST", path, step.body, step.key)
        if answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == "/provider":
            return []
        if not answer.is_success:
            fail(f"{step.key}: {said(answer)}")
    give_up_at = monotonic() + PAYOUT_SECONDS
    while True:
        states = [
            str(service.done("GET", f"{path}/{operation_id(ledger, f'payout-{name}')}").json()["state"])
            for name in shop.PAYOUTS
        ]
        if states == list(shop.PAYOUTS) or monotonic() > give_up_at:
            return states
        sleep(POLL_SECONDS)


def _webhooks(service: CallableService, ledger: str, wanted: str | None) -> Iterator[str]:
    """Register the webhooks that are not there; yield a line about each."""
    known = _known_webhooks(service, ledger)
    silent = known.get(SILENT) or _register(service, ledger, SILENT)
    yield f"webhook {silent['id']}: fails, because its host does not exist"
    disabled = known.get(DISABLED) or _register(service, ledger, DISABLED)
    service.done("POST", f"/v1/webhooks/{disabled['id']}/disable", {"reason": "the archive is being moved"})
    yield f"webhook {disabled['id']}: disabled"
    if wanted is not None:
        own = known.get(wanted) or _register(service, ledger, wanted)
        secret = f"; its secret, shown this once: {own['secret']}" if "secret" in own else ""
        yield f"webhook {own['id']}: yours, {wanted}{secret}"


def _known_webhooks(service: CallableService, ledger: str) -> dict[str, dict[str, Any]]:
    known: dict[str, dict[str, Any]] = {}
    query = "?page_size=1000"
    while query:
        page = service.done("GET", f"/v1/webhooks{query}").json()
        known |= {hook["url"]: hook for hook in page["data"] if hook["ledgers"] == [ledger]}
        query = f"?page_size=1000&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    return known


def _register(service: CallableService, ledger: str, url: str) -> dict[str, Any]:
    body = {"url": url, "ledgers": [ledger], "types": list(shop.TOLD), "description": "of the demo"}
    made: dict[str, Any] = service.done("POST", "/v1/webhooks", body).json()
    return made


def _say_where_to_look(url: str, ledger: str) -> None:
    console, here = f"{url}/console", f"{url}/console/ledgers/{ledger}"
    places = [
        (console, "what needs somebody (sign in with the same key)"),
        (f"{here}/accounts/customers:ada", "a wallet: its statement, and a hold settled in part"),
        (f"{here}/operations/basket-too-large", "the story of a refusal"),
        (f"{here}/transactions", "orders, holds, refunds"),
        (f"{here}/balances", "the tree of accounts"),
        (f"{here}/payouts", "payouts in every state"),
        (f"{console}/webhooks", "what is delivered, and what fails"),
        (f"{console}/stuck", "what is older than it should be"),
    ]
    commands = [
        (f"tallystick trace order-1003 --ledger {ledger}", "an order, and its refund"),
        (f"tallystick report statement --ledger {ledger} --account bank:checking", "a statement"),
        (f"tallystick payouts list --ledger {ledger} --state in_doubt", "what a provider does not tell"),
        ("tallystick stuck --payout-seconds 1", "and what is safe to do about it"),
        (
            f"tallystick report changes --ledger {ledger} --limits --account customers:ben",
            "who changed a limit",
        ),
    ]
    typer.echo("Where to look:")
    print_aligned([("  " + place, words) for place, words in places])
    print_aligned([("  " + as_called(command), words) for command, words in commands])
