"""Payouts: by state, with what the provider said and when."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from api.console.actions.action import Action, action
from api.console.actions.fields import ANY_REASON, REASON, Field
from api.console.actions.next_steps import unsafe_steps
from api.console.formats import clock_of_day, code_of, counted, figure
from api.console.view import Shown, View, page
from domain.model.payouts.bridges import BRIDGE
from domain.model.times import Instant, instant
from projections.diagnosis.glossary import term
from projections.diagnosis.remedies import Remedy

PAGE_SIZE = 50
STATES = ("accepted", "submitted", "in_doubt", "stuck", "completed", "failed", "rejected")
_ROUTE = "/v1/ledgers/{ledger}/payouts"
_REMEDIES: Mapping[str, Remedy] = {
    "accepted": "wait",
    "submitted": "ask_provider",
    "in_doubt": "ask_provider",
    "stuck": "resolve_payout",
}
"""What is safe while a payout has not ended."""


def foretold(payout: Mapping[str, Any]) -> str:
    """Return in words what a request for a payout would do, from the payout that it would make."""
    amount = f"{figure(payout['amount'], payout['asset'])} {code_of(payout['asset'])}"
    held = f"{amount} of {payout['account']} would be held, and"
    if payout["provider"] == BRIDGE:
        to = payout["destination"]
        return f"{held} {to['ledger']} asked to post it to {to['account']}."
    return f"{held} {payout['provider']} asked to pay it out."


action(
    Action(
        "request-payout",
        "Request a payout",
        "Request a payout?",
        "The amount is held, and the provider is asked to pay it out. If no answer comes, nobody knows whether the"
        " money left until the provider says so.",
        _ROUTE,
        path="/ledgers/{ledger}/request-payout",
        fields=(
            Field("account", "Account that pays", is_required=True),
            Field(
                "amount",
                "Amount",
                "whole",
                is_required=True,
                hint="In minor units: 1050 of USD/2 is 10.50 USD.",
            ),
            Field("provider", "Provider", is_required=True, hint="For another ledger: bridge."),
            Field(
                "destination",
                "Destination",
                "json",
                is_required=True,
                hint="A JSON object, in the provider's terms. For another ledger: its `ledger` and `account`.",
            ),
            Field("reference", "Reference"),
        ),
        leads_to="/ledgers/{ledger}/payouts/{made}",
        is_grave=True,
        foretell=foretold,
    )
)
action(
    Action(
        "reconcile-payout",
        "Ask the provider",
        "Ask the provider now?",
        "The provider is asked what became of this payout, under the same key. Asking moves no money, as often as you"
        " ask.",
        f"{_ROUTE}/{{id}}/reconcile",
        fields=(ANY_REASON,),
    )
)
action(
    Action(
        "complete-payout",
        "It was paid",
        "Say that this payout was paid?",
        "The hold is settled: the books say that the money left. Do this only if you found out at the provider.",
        f"{_ROUTE}/{{id}}/complete",
        fields=(REASON,),
        is_grave=True,
    )
)
action(
    Action(
        "fail-payout",
        "It was not paid",
        "Say that this payout was not paid?",
        "The amount goes back to the account, which may pay it out again. Do this only if you found out at the provider"
        " that the money has not left and will not.",
        f"{_ROUTE}/{{id}}/fail",
        fields=(
            REASON,
            Field(
                "confirm",
                "I have found out at the provider that the money has not left and will not. If it leaves after all, it"
                " is paid out and in the account as well.",
                "confirm",
                is_required=True,
                choices=("not_paid",),
            ),
        ),
        is_grave=True,
    )
)


@page("/console/ledgers/{ledger}/payouts", template="payouts.html")
async def show_payouts(view: View) -> Shown:
    """Show the payouts of a ledger, the newest first unless the address says otherwise."""
    asked = view.asked("state", "account", "provider")
    listed = await view.api.get(
        f"/ledgers/{view.ledger}/payouts",
        page_size=PAGE_SIZE,
        order=view.query.get("order") or "desc",
        **asked,
        **view.asked("cursor"),
    )
    found = listed.content
    values = {**found, "asked": asked, "states": STATES, "head": listed.head}
    return Shown("Payouts", sentence(found["data"], asked["state"]), values, listed.position)


@page("/console/ledgers/{ledger}/payouts/{id}", template="payout.html")
async def show_payout(view: View) -> Shown:
    """Show one payout, with everything that was said of it."""
    answer = await view.api.get(f"/ledgers/{view.ledger}/payouts/{view.names['id']}")
    payout = answer.content
    resource, remedy = f"/v1{view.resource}", _REMEDIES.get(payout["state"])
    values = {"payout": payout, "is_open": remedy, "unsafe": unsafe_steps(remedy, resource) if remedy else []}
    return Shown("Payout", sentence_of(payout, instant(datetime.now(UTC))), values, answer.position)


def sentence(payouts: Sequence[Mapping[str, Any]], state: str | None) -> str:
    """Return what is known of the listed payouts."""
    if not payouts:
        return (
            f"No payout is in this state: {term('payout', state).words}."
            if state
            else "There are no payouts."
        )
    said = []
    if doubted := sum(payout["state"] == "in_doubt" for payout in payouts):
        which = "one" if doubted == 1 else f"{doubted}"
        said.append(f"Of {which} of these, nobody knows yet whether the money left.")
    if stuck := sum(payout["state"] == "stuck" for payout in payouts):
        said.append(f"{counted(stuck, 'contradicts', 'contradict')} the record: a person must find out.")
    under_way = sum(payout["state"] in ("accepted", "submitted") for payout in payouts)
    if under_way:
        said.append(f"{counted(under_way, 'is', 'are')} under way.")
    return " ".join(said) or f"{counted(len(payouts), 'payout is', 'payouts are')} listed. All have ended."


def sentence_of(payout: Mapping[str, Any], now: Instant) -> str:
    """Return what is known of a payout, and when the provider is asked next."""
    state, due_at = payout["state"], payout["due_at"]
    if state == "in_doubt":
        return f"Nobody knows yet whether the money left.{_inquiry(due_at, now, ' again')}"
    if state == "submitted":
        return f"{term('payout', state).meaning}{_inquiry(due_at, now, '')}"
    return term("payout", state).meaning


def _inquiry(due_at: Instant | None, now: Instant, again: str) -> str:
    """Return when the provider is asked. A time that has passed is not promised."""
    if due_at is None:
        return ""
    time = f"{clock_of_day(due_at)} UTC"
    if due_at <= now:
        return f" Asking{again} has been due since {time}."
    return f" We ask{again} at {time} at the latest."
