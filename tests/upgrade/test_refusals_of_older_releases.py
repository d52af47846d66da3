"""Refusals by older releases are answered and shown byte for byte as those releases did.

For each stored form of a refusal in the golden file, `refusals_of_older_releases.jsonl` holds what its release
answered: to the request and its replays, to a read of the rejected transaction, and to a question about its key.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from api.http.responses import json_answer
from api.resources.operations.answers import any_operation_body
from api.resources.payouts.answers import payout_answer
from api.resources.payouts.schemas import payout_body
from api.resources.transactions.answers import answer
from api.resources.transactions.schemas import transaction_body
from domain.journal.encoding import decode
from domain.model.commands import Outcome
from domain.model.payouts.payout import Payout
from domain.model.registry import evolve
from tests.upgrade.examples import ENVELOPE
from tests.upgrade.record import Form, golden

FILE = Path(__file__).with_name("refusals_of_older_releases.jsonl")
GOLDEN = golden()
REFUSALS = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("then", REFUSALS, ids=lambda then: f"{then['topic']} {then['class_version']}")
def test_it_is_repeated_byte_for_byte(then: dict[str, Any]) -> None:
    topic, version = then["topic"], then["class_version"]
    stream = f"main/{topic.partition('.')[0]}s/{ENVELOPE.causation_id}"
    made = evolve(None, decode(stream, 1, topic, GOLDEN[Form(topic, version)], 7))
    of_payout = isinstance(made, Payout)
    again = (payout_answer if of_payout else answer)(Outcome(made, False, True, 7))
    assert (again.status, again.body.decode()) == (then["status"], then["answer"])
    shown = payout_body(made) if of_payout else transaction_body(made)
    assert json_answer(200, shown).body.decode() == then["shown"]
    # The operation's own body may gain members. Its problem stays as it was.
    refusal = any_operation_body(made)["problem"]
    assert json_answer(200, refusal).body.decode() in then["operation"]


def test_every_form_that_older_releases_stored_is_among_them() -> None:
    older = {form for form in GOLDEN if form.topic.endswith(".rejected")} - {
        Form("transaction.rejected", 3),
        Form("payout.rejected", 2),
    }
    assert {Form(then["topic"], then["class_version"]) for then in REFUSALS} == older
