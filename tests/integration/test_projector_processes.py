"""Several projectors of one service: each has its share, and a share that nobody has is taken over."""

import os
import signal
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from domain.journal.database import Database
from projections.registry import PROJECTIONS
from projections.running.shares import divided
from tests.projecting import await_head, eventually, holder
from tests.service import Service, post_account, post_ledger, serving, transfer_body

pytestmark = pytest.mark.integration

OWNERS = divided(frozenset(PROJECTIONS), 2)


def post(service: Service, count: int) -> None:
    with service.client() as client:
        for _ in range(count):
            body = transfer_body("users:bank", "users:alice:wallet", 1)
            headers = {"Idempotency-Key": uuid4().hex}
            answer = client.post("/v1/ledgers/main/transactions", json=body, headers=headers)
            assert answer.status_code == 201, answer.text


def test_a_killed_projectors_share_goes_on_and_returns_to_it(
    database: Database, owner: psycopg.Connection[object], tmp_path: Path
) -> None:
    options = ("--database-url", database.url, "--schema", database.schema, "--projectors", "2")
    with serving(tmp_path / "data", *options) as service:
        with service.client() as client:
            post_ledger(client)
            post_account(client, "users:bank")
            post_account(client, "users:alice:wallet")
        eventually(lambda: is_divided(owner))
        post(service, 20)
        await_head(owner)
        (process,) = service.processes("scripts.serving.processes projector 1 2")
        os.kill(process.pid, signal.SIGKILL)
        post(service, 20)
        await_head(owner)
        eventually(lambda: process.pid not in {of.pid for of in service.processes()})
        eventually(lambda: is_divided(owner))
        post(service, 20)
        await_head(owner)
        assert service.stop() == 0


def is_divided(owner: psycopg.Connection[object]) -> bool:
    """Whether each share is held by one session, and each by another."""
    first, second = (
        {holder(owner, name) for name in OWNERS if OWNERS[name] == number} for number in range(2)
    )
    return len(first) == len(second) == 1 and first != second and None not in first | second
