"""What is safe next about a thing, and what is not."""

from typing import get_args

import pytest

from api.console.next_steps import Place, Step, commands_in, next_steps, page_of, places, unsafe_steps
from projections.diagnosis.remedies import Remedy, safe_to_do

PAYOUT = "/v1/ledgers/main/payouts/p"
TRANSACTION = "/v1/ledgers/main/transactions/t"
DELIVERY = "/v1/webhooks/w/deliveries/7"
LETTER = "/v1/dead-letters/d"
PROJECTION = "/v1/projections/balances"


def safe(remedy: Remedy, resource: str) -> list[Step]:
    return [step for step in next_steps(remedy, resource) if step.why_unsafe is None]


@pytest.mark.parametrize(
    ("remedy", "resource", "actions", "names"),
    [
        ("ask_provider", PAYOUT, ["reconcile-payout"], {"ledger": "main", "id": "p"}),
        ("resolve_payout", PAYOUT, ["complete-payout", "fail-payout"], {"ledger": "main", "id": "p"}),
        ("end_hold", TRANSACTION, ["settle-hold", "void-hold"], {"ledger": "main", "id": "t"}),
        ("decide_dead_letter", LETTER, ["retry-dead-letter", "discard-dead-letter"], {"id": "d"}),
        ("resume_projection", PROJECTION, ["resume-projection"], {"name": "balances"}),
        ("retry_delivery", DELIVERY, ["retry-delivery", "discard-delivery"], {"id": "w", "delivery": "7"}),
        ("enable_webhook", "/v1/webhooks/w", ["enable-webhook"], {"id": "w"}),
    ],
)
def test_a_remedy_leads_to_its_actions(
    remedy: Remedy, resource: str, actions: list[str], names: dict[str, str]
) -> None:
    assert safe(remedy, resource) == [Step(action, names) for action in actions]


@pytest.mark.parametrize("remedy", ["ask_provider", "resolve_payout"])
def test_nobody_pays_out_again_while_the_money_may_have_left(remedy: Remedy) -> None:
    (unsafe,) = (step for step in next_steps(remedy, PAYOUT) if step.why_unsafe)
    assert unsafe.action == "request-payout"
    assert "may have left" in (unsafe.why_unsafe or "")
    assert ("Pay out again under a new key", unsafe.why_unsafe) in unsafe_steps(remedy, PAYOUT)


def test_what_is_done_must_not_be_done_again() -> None:
    ((label, why),) = unsafe_steps("nothing", TRANSACTION)
    assert (label, "second time" in why) == ("Send the same again under a new key", True)


@pytest.mark.parametrize("remedy", ["use_new_key", "pay_out_again", "hold_again"])
def test_a_new_key_is_safe_once_nothing_can_come_of_the_old_one(remedy: Remedy) -> None:
    assert unsafe_steps(remedy, TRANSACTION) == unsafe_steps(remedy, PAYOUT) == []


def test_a_thing_without_a_request_has_nothing_unsafe() -> None:
    assert unsafe_steps("wait", PROJECTION) == unsafe_steps("nothing", "") == []


def test_a_new_posting_is_composed_and_the_old_one_is_seen() -> None:
    assert places("use_new_key", TRANSACTION) == [
        Place("Compose a new one", "/console/ledgers/main/try"),
        Place("See the transaction", "/console/ledgers/main/transactions/t"),
    ]
    assert places("wait", PROJECTION) == [Place("See the projection", "/console/projections/balances")]
    assert places("wait", "") == []


@pytest.mark.parametrize("remedy", get_args(Remedy))
@pytest.mark.parametrize("resource", [PAYOUT, TRANSACTION, DELIVERY, LETTER, PROJECTION, ""])
def test_every_remedy_has_an_answer_for_every_thing(remedy: Remedy, resource: str) -> None:
    assert all(step.action for step in next_steps(remedy, resource))
    assert all(why.endswith(".") for _, why in unsafe_steps(remedy, resource))


def test_commands_are_taken_from_the_words() -> None:
    assert commands_in(safe_to_do("resume_projection", PROJECTION)) == [
        "tallystick projections resume balances"
    ]


def test_a_webhook_that_waits_is_seen_by_its_deliveries() -> None:
    assert page_of("wait", "/v1/webhooks/w") == "/v1/webhooks/w/deliveries"
    assert page_of("wait", DELIVERY) == DELIVERY
    assert page_of("enable_webhook", "/v1/webhooks/w") == "/v1/webhooks/w"
