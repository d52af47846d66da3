"""The glossary has words for every state that an answer can have, and none that is misleading."""

from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from typing_extensions import TypeAliasType

from api.resources.accounts.schemas import AccountBody
from api.resources.installation.key_schemas import KeyBody
from api.resources.payouts.schemas import PayoutBody
from api.resources.projections.dead_letter_schemas import DeadLetterBody
from api.resources.projections.schemas import ProjectionBody, UnreadVersionBody
from api.resources.transactions.operation_schemas import OperationBody
from api.resources.transactions.schemas import TransactionBody
from api.resources.webhooks.schemas import DeliveryBody, WebhookBody
from projections.diagnosis.glossary import DERIVED, GLOSSARY, meanings, term
from projections.rebuilding.transitions import RebuildState

STATES: list[tuple[str, Any, str]] = [
    ("account", AccountBody, "status"),
    ("dead_letter", DeadLetterBody, "state"),
    ("delivery", DeliveryBody, "state"),
    ("key", KeyBody, "state"),
    *(("operation", form, "state") for form in get_args(get_args(OperationBody.__value__)[0])),
    ("payout", PayoutBody, "state"),
    ("projection", ProjectionBody, "state"),
    ("projection", UnreadVersionBody, "state"),
    ("transaction", TransactionBody, "status"),
    ("webhook", WebhookBody, "state"),
]


def states() -> set[tuple[str, str]]:
    """Every kind of thing with each state that the API can give it."""
    found = {("rebuild", state) for state in get_args(RebuildState)}
    for thing, body, member in STATES:
        found |= {(thing, state) for state in words_in(get_type_hints(body)[member])}
    return found


def words_in(choice: Any) -> set[str]:
    """The words of a closed set that has a name in the document."""
    if isinstance(choice, TypeAliasType):
        return words_in(choice.__value__)
    return words_in(get_args(choice)[0]) if get_origin(choice) is Annotated else set(get_args(choice))


def test_every_state_has_words_and_no_words_are_left_over() -> None:
    assert set(GLOSSARY) - DERIVED == states()


@pytest.mark.parametrize("state", ["submitted", "in_doubt", "stuck"])
def test_nothing_is_called_failed_while_nobody_knows(state: str) -> None:
    words = " ".join(str(part) for part in term("payout", state)).lower()
    assert "fail" not in words


def test_the_document_says_what_the_states_of_a_payout_mean() -> None:
    assert meanings("payout").startswith("`accepted`: The amount is held.")
    assert "lapsed" not in meanings("transaction")
