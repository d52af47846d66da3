"""Snapshots of other releases: older ones are upcast, newer ones are ignored."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from msgspec.structs import replace
from psycopg import Connection

from domain.journal import snapshots
from domain.journal.database import Database
from domain.journal.snapshots import (
    ACCOUNT_FORM,
    ACCOUNT_TOPIC,
    UPCASTS,
    Upcast,
    decode_snapshot,
    encode_snapshot,
    readable_forms,
    topic_of,
)
from domain.model.accounts import Account
from domain.model.transactions import TransactionPosted
from tests.ledgers import history, open_accounts, outcomes, running, transfer
from tests.upgrade.examples import SNAPSHOTS
from tests.upgrade.record import Form, folded, golden

GOLDEN = golden()
PRESENT = SNAPSHOTS[ACCOUNT_TOPIC]
STREAM = "main/accounts/a"

NewerForm = Callable[[int, Mapping[int, Upcast | str]], None]


def two_words(members: dict[str, Any]) -> None:
    members["status"] = members["status"].replace("_", " ")


def five_more(members: dict[str, Any]) -> None:
    members["posted_debits"] += 5


@pytest.fixture
def newer_form(monkeypatch: pytest.MonkeyPatch) -> NewerForm:
    """Makes this process one of a release whose snapshots have another form."""

    def raised(form: int, upcasts: Mapping[int, Upcast | str]) -> None:
        forms = {topic_of(readable): readable for readable in readable_forms(form, upcasts)}
        monkeypatch.setattr(snapshots, "ACCOUNT_FORM", form)
        monkeypatch.setattr(snapshots, "ACCOUNT_TOPIC", topic_of(form))
        monkeypatch.setattr(snapshots, "UPCASTS", upcasts)
        monkeypatch.setattr(snapshots, "FORMS", forms)
        for module in ("reader", "writer"):
            monkeypatch.setattr(f"domain.journal.{module}.TOPICS", list(forms))

    return raised


@pytest.mark.parametrize("form", range(1, ACCOUNT_FORM + 1))
def test_every_form_is_pinned_with_what_it_folds_and_read_or_not_for_a_reason(form: int) -> None:
    topic = topic_of(form)
    assert {Form(topic, None), folded(topic)} <= GOLDEN.keys(), "run python -m tests.upgrade.record"
    if form in readable_forms(ACCOUNT_FORM, UPCASTS):
        assert isinstance(decode_snapshot(GOLDEN[Form(topic, None)], topic), Account)
    else:
        assert any(UPCASTS[older] for older in range(form, ACCOUNT_FORM) if not callable(UPCASTS[older]))


@pytest.mark.parametrize(
    ("present", "upcasts", "readable"),
    [
        (1, {}, [1]),
        (2, {1: five_more}, [2, 1]),
        (2, {1: "the old form lacks the limits"}, [2]),
        (2, {}, [2]),
        (4, {1: five_more, 2: "the old form lacks the limits", 3: five_more}, [4, 3]),
        (2, {1: five_more, 2: five_more}, [2, 1]),
    ],
)
def test_what_is_read_is_what_upcasts_lead_from(
    present: int, upcasts: Mapping[int, Upcast | str], readable: list[int]
) -> None:
    assert readable_forms(present, upcasts) == readable


def test_a_golden_snapshot_is_brought_up_to_the_present_form_step_by_step(newer_form: NewerForm) -> None:
    stored = GOLDEN[Form(ACCOUNT_TOPIC, None)].replace(b'"open"', b'"half_open"')
    newer_form(ACCOUNT_FORM + 2, {ACCOUNT_FORM: two_words, ACCOUNT_FORM + 1: five_more})
    expected = replace(PRESENT, status="half open", posted_debits=PRESENT.posted_debits + 5)
    assert decode_snapshot(stored, ACCOUNT_TOPIC) == expected
    between = decode_snapshot(stored, topic_of(ACCOUNT_FORM + 1))
    assert (between.status, between.posted_debits) == ("half_open", PRESENT.posted_debits + 5)
    assert decode_snapshot(encode_snapshot(PRESENT), topic_of(ACCOUNT_FORM + 2)) == PRESENT


def keep(connection: Connection[Any], version: int, topic: str, state: bytes) -> None:
    connection.execute("INSERT INTO snapshots VALUES (%s, %s, %s, %s)", (STREAM, version, topic, state))


@pytest.fixture
def telltale(database: Database, owner: Connection[Any]) -> None:
    """An account with three transfers of 1, and a snapshot of the second with 100 more, to show when the snapshot is
    used.
    """
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        states = [ledger.account("main", "a")[0]]
        for _ in range(3):
            outcomes(ledger.execute(transfer("a", "b", 1)).result())
            states.append(ledger.account("main", "a")[0])
    more = replace(states[2], posted_debits=states[2].posted_debits + 100)
    keep(owner, more.version, ACCOUNT_TOPIC, encode_snapshot(more))


def debits(database: Database) -> list[int | None]:
    """The account's debits, as a reader folds them and as a new writer does who moves 1 more."""
    with running(database) as ledger:
        read = ledger.account("main", "a")[0].posted_debits
        outcomes(ledger.execute(transfer("a", "b", 1)).result())
    posted = history(database)[-1].event
    assert isinstance(posted, TransactionPosted)
    return [read, posted.entries[0].debits_after]


@pytest.mark.integration
@pytest.mark.usefixtures("telltale")
class TestOnAJournal:
    """How an account with a snapshot of the present form is loaded."""

    def test_the_release_that_made_it_reads_it(self, database: Database) -> None:
        assert debits(database) == [103, 104]

    def test_a_newer_release_reads_it_through_the_upcast(
        self, database: Database, newer_form: NewerForm
    ) -> None:
        newer_form(ACCOUNT_FORM + 1, {ACCOUNT_FORM: five_more})
        assert debits(database) == [108, 109]

    def test_a_newer_release_that_cannot_folds_instead(
        self, database: Database, newer_form: NewerForm
    ) -> None:
        newer_form(ACCOUNT_FORM + 1, {ACCOUNT_FORM: "the old form lacks the limits"})
        assert debits(database) == [3, 4]

    def test_a_newer_snapshot_is_passed_over_for_an_older_one(
        self, database: Database, owner: Connection[Any]
    ) -> None:
        keep(owner, 4, topic_of(ACCOUNT_FORM + 1), json.dumps({"of": "another release"}).encode())
        assert debits(database) == [103, 104]
