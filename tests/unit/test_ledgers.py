"""Decisions on ledgers."""

import pytest

from domain.model.commands import envelope_of
from domain.model.errors import AssetScaleConflict, LedgerExists, LedgerNotFound
from domain.model.ledgers import (
    AssetRegistered,
    Ledger,
    LedgerOpened,
    OpenLedger,
    existing_ledger,
    register_asset,
)
from tests.unit.given_when_then import CONTEXT, NOW, a_ledger, given


def test_a_ledger_is_opened() -> None:
    answer = given().when(OpenLedger(CONTEXT, "main", {"region": "eu"}))
    answer.then(("main/ledger", LedgerOpened(metadata={"region": "eu"})))
    assert answer.state == Ledger("main", {"region": "eu"}, {}, NOW, version=1, position=1)
    assert answer.outcome.recorded and not answer.outcome.replayed and answer.outcome.position == 1


def test_opening_it_again_records_nothing_and_shows_it_as_it_is_now() -> None:
    answer = given(*a_ledger("USD/2"), *a_ledger(name="other")).when(OpenLedger(CONTEXT, "main", {}))
    answer.then_nothing()
    assert answer.state.assets == {"USD": 2}
    assert not answer.outcome.recorded and answer.outcome.position == 3  # the head


def test_opening_it_with_other_metadata_is_refused() -> None:
    given(*a_ledger()).when(OpenLedger(CONTEXT, "main", {"region": "eu"})).then_refused(LedgerExists)


def test_ledgers_do_not_know_each_other() -> None:
    given(*a_ledger(name="main")).when(OpenLedger(CONTEXT, "main-2", {})).then(
        ("main-2/ledger", LedgerOpened(metadata={}))
    )


def test_opening_needs_no_key_and_is_caused_by_the_conversation() -> None:
    command = OpenLedger(CONTEXT, "main", {})
    envelope = envelope_of(command, NOW)
    assert envelope.idempotency_key is None
    assert envelope.causation_id == CONTEXT.correlation_id


def folded(*assets: str) -> Ledger:
    state = given(*a_ledger(*assets)).journal.states["main/ledger"]
    assert isinstance(state, Ledger)
    return state


def test_the_first_use_of_a_code_registers_its_scale() -> None:
    assert register_asset(folded(), "USD/2") == [("main/ledger", AssetRegistered(code="USD", scale=2))]
    assert register_asset(folded("USD/2"), "EUR/2") == [("main/ledger", AssetRegistered(code="EUR", scale=2))]


def test_a_known_asset_is_not_registered_again() -> None:
    assert register_asset(folded("USD/2", "JPY/0"), "JPY/0") == []


@pytest.mark.parametrize(("known", "asked"), [("USD/2", "USD/3"), ("JPY/0", "JPY/2"), ("BTC/8", "BTC/0")])
def test_a_code_has_one_scale_for_ever(known: str, asked: str) -> None:
    with pytest.raises(AssetScaleConflict):
        register_asset(folded(known), asked)


def test_registering_keeps_the_other_assets_and_moves_the_version() -> None:
    ledger = folded("USD/2", "BTC/8")
    assert ledger.assets == {"USD": 2, "BTC": 8}
    assert (ledger.version, ledger.position) == (3, 3)


def test_a_stream_without_events_is_no_ledger() -> None:
    with pytest.raises(LedgerNotFound):
        existing_ledger(None, "main")
