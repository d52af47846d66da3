"""The audit of dead letters: no projection contains an event held behind one or a discarded one."""

from typing import Any

import pytest
from psycopg import Connection

from domain.journal.database import Database
from domain.model.events import Context
from projections.audit import differences
from projections.running.dead_letter_decisions import discard
from scripts.doctor import projections
from scripts.doctor.examination import Check, Scope, examine
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import append, await_head, eventually, projecting

pytestmark = pytest.mark.integration

STREAM = "main/accounts/alice"
ENVELOPE = (
    b'{"class_version":1,"recorded_at":"2026-01-01T00:00:00.000000Z","actor":"a","correlation_id":"c",'
    b'"causation_id":"c","idempotency_key":null,"traceparent":null,"data":%s}'
)


def test_a_projection_with_dead_letters_is_compared_without_what_it_lacks(
    database: Database, owner: Connection[Any]
) -> None:
    with running(database) as ledger, projecting(database):
        open_accounts(ledger, "alice", "bob")
        outcomes(ledger.execute(transfer("alice", "bob", 5)).result())
        await_head(owner)
        append(owner, STREAM, 3, "account.frozen", ENVELOPE % b'{"reason":7}')
        append(owner, STREAM, 4, "account.metadata_changed", ENVELOPE % b'{"metadata":{"later":"yes"}}')
        await_head(owner)
        letters = "SELECT id FROM dead_letters WHERE projection = 'balances' AND state = 'open'"
        eventually(lambda: len(owner.execute(letters).fetchall()) == 1)
        assert differences(owner, "balances") == []
        found = examine(database, Check("it", projections.letters), Scope(True, 1, 1), 60).findings
        assert [(finding.code, STREAM in finding.examples[0]) for finding in found] == [
            ("dead_letters_open", True)
        ]

        ((id,),) = owner.execute(letters).fetchall()
        discard(owner, id, Context("operator", "correlation-1"), "no reason can be a number")
        row = owner.execute(
            "SELECT version, metadata, status FROM balances_v1 WHERE address = 'alice'"
        ).fetchone()
        assert row == (4, {"later": "yes"}, "open")
        assert differences(owner, "balances") == []
        assert owner.execute("UPDATE balances_v1 SET version = 3 WHERE address = 'alice'").rowcount == 1
        assert len(differences(owner, "balances")) == 1
