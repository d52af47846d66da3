"""What is safe next about a thing, and what is not."""

from typing import get_args

import pytest

import api.console.pages.all  # noqa: F401  (lists the actions)
from api.console.actions.action import ACTIONS
from api.console.actions.next_steps import Step, next_steps, unsafe_steps
from projections.diagnosis.remedies import Remedy

PAYOUT = "/v1/ledgers/main/payouts/p"
TRANSACTION = "/v1/ledgers/main/transactions/t"
DELIVERY = "/v1/webhooks/w/deliveries/7"
LETTER = "/v1/dead-letters/d"
PROJECTION = "/v1/projections/balances"


@pytest.mark.parametrize(
    ("remedy", "resource", "actions", "names"),
    [
        ("ask_provider", PAYOUT, ["reconcile-payout"], {"ledger": "main", "id": "p"}),
        ("resolve_payout", PAYOUT, ["complete-payout", "fail-payout"], {"ledger": "main", "id": "p"}),
        ("end_hold", TRANSACTION, ["settle-hold", "void-hold"], {"ledger": "main", "id": "t"}),
        ("decide_dead_letter", LETTER, ["retry-dead-letter", "discard-dead-letter"], {"id": "d"}),
        ("mend_projection", PROJECTION, ["resume-projection", "rebuild-projection"], {"name": "balances"}),
        ("mend_projection", "/v1/projections/nats", ["resume-projection"], {"name": "nats"}),
        ("resume_projection", PROJECTION, ["resume-projection"], {"name": "balances"}),
        ("retry_delivery", DELIVERY, ["retry-delivery", "discard-delivery"], {"id": "w", "delivery": "7"}),
        ("enable_webhook", "/v1/webhooks/w", ["enable-webhook"], {"id": "w"}),
    ],
)
def test_a_remedy_leads_to_its_actions(
    remedy: Remedy, resource: str, actions: list[str], names: dict[str, str]
) -> None:
    assert next_steps(remedy, resource) == [Step(action, names) for action in actions]


@pytest.mark.parametrize("remedy", ["ask_provider", "resolve_payout"])
def test_nobody_pays_out_again_while_the_money_may_have_left(remedy: Remedy) -> None:
    assert "request-payout" not in [step.action for step in next_steps(remedy, PAYOUT)]
    reasons = dict(unsafe_steps(remedy, PAYOUT))
    assert "may have left" in reasons["Pay out again under a new key"]


def test_what_is_done_must_not_be_done_again() -> None:
    ((label, why),) = unsafe_steps("nothing", TRANSACTION)
    assert (label, "second time" in why) == ("Send the same again under a new key", True)


@pytest.mark.parametrize("remedy", ["use_new_key", "pay_out_again", "hold_again"])
def test_a_new_key_is_safe_once_nothing_can_come_of_the_old_one(remedy: Remedy) -> None:
    assert unsafe_steps(remedy, TRANSACTION) == unsafe_steps(remedy, PAYOUT) == []


def test_a_thing_without_a_request_has_nothing_unsafe() -> None:
    assert unsafe_steps("wait", PROJECTION) == unsafe_steps("nothing", "") == []


def test_a_new_posting_is_composed_and_the_old_one_is_seen() -> None:
    assert next_steps("use_new_key", TRANSACTION) == [
        Step(label="Compose a new one", address="/console/ledgers/main/try"),
        Step(label="See the transaction", address="/console/ledgers/main/transactions/t"),
    ]
    (seen,) = next_steps("wait", PROJECTION)
    assert seen.address == "/console/projections/balances"
    assert next_steps("wait", "") == []


@pytest.mark.parametrize("remedy", get_args(Remedy))
@pytest.mark.parametrize("resource", [PAYOUT, TRANSACTION, DELIVERY, LETTER, PROJECTION, ""])
def test_every_step_leads_somewhere(remedy: Remedy, resource: str) -> None:
    for step in next_steps(remedy, resource):
        assert step.action in ACTIONS or (step.address.startswith("/console/") and step.label)
    assert all(why.endswith(".") for _, why in unsafe_steps(remedy, resource))
