"""The facts that tell the thing of an action from others."""

import json
from typing import Any

import api.console.pages.all  # noqa: F401  (lists the actions)
from api.console.actions.action import ACTIONS
from api.console.actions.subjects import facts_of
from api.console.inside import Reply


def told(action: str, thing: Any, status: int = 200) -> dict[str, str]:
    reply = Reply(status, {}, json.dumps(thing).encode())
    return {fact.label: str(fact.value) for fact in facts_of(ACTIONS[action], reply)}


def test_a_payout_is_told_by_its_account_its_amount_and_its_state() -> None:
    payout = {"account": "alice", "amount": 1050, "asset": "USD/2", "provider": "bank", "state": "in_doubt"}
    facts = told("fail-payout", {**payout, "destination": {"iban": "DE1"}})
    assert "10.50" in facts.pop("Amount")
    assert facts == {"Account": "alice", "Provider": "bank", "Destination": "iban: DE1", "State": "in doubt"}


def test_a_key_is_told_by_its_first_event() -> None:
    events = {"data": [{"payload": {"name": "buyer", "roles": ["client"], "ledgers": ["main"]}}]}
    assert told("revoke-key", events) == {"Name": "buyer", "Roles": "client", "Ledgers": "main"}
    assert told("revoke-key", {"data": []}) == {}


def test_nothing_is_told_of_what_the_caller_may_not_read() -> None:
    assert told("close-account", {"title": "Forbidden"}, 403) == {}
    assert facts_of(ACTIONS["make-key"], None) == []
