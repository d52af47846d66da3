"""Snapshots compared with the fold of the events they stand for."""

from typing import Any

import pytest
from psycopg import Connection

from domain.journal.database import Database
from projections.audit import choose, one_instant, sampling, snapshot_differences
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import eventually

pytestmark = pytest.mark.integration


@pytest.fixture
def snapshots(database: Database, owner: Connection[Any]) -> None:
    """Two accounts, each with a snapshot of its 100th version or later."""
    with running(database) as ledger:
        open_accounts(ledger, "a", "b", "c")
        outcomes(ledger.execute(*(transfer("a", "b", 1) for _ in range(130))).result())
        eventually(lambda: owner.execute("SELECT count(*) FROM snapshots").fetchone() == (2,))


@pytest.mark.usefixtures("snapshots")
@pytest.mark.parametrize(
    ("tampering", "words"),
    [
        ("UPDATE snapshots SET state = replace(convert_from(state, 'UTF8'), '_debits\":1', '_debits\":2')::bytea"
         " WHERE originator_id = 'main/accounts/a'", "main/accounts/a at version"),
        ("UPDATE snapshots SET state = '{' WHERE originator_id = 'main/accounts/b'", "main/accounts/b at version"),
        ("UPDATE snapshots SET originator_version = 1000 WHERE originator_id = 'main/accounts/a'",
         "at version 1000: version is"),
        ("UPDATE snapshots SET originator_id = 'main/accounts/0' WHERE originator_id = 'main/accounts/a'",
         "stream is main/accounts/0, must be None"),
        ("UPDATE snapshots SET originator_id = 'main/accounts/z' WHERE originator_id = 'main/accounts/b'",
         "stream is main/accounts/z, must be None"),
    ],
)  # fmt: skip
def test_a_snapshot_that_says_something_else_is_found(
    owner: Connection[Any], tampering: str, words: str
) -> None:
    def found() -> list[str]:
        with one_instant(owner):
            return [str(difference) for difference in snapshot_differences(owner)]

    assert found() == []
    assert owner.execute(tampering.encode()).rowcount == 1
    (difference,) = found()
    assert words in difference


@pytest.mark.usefixtures("snapshots")
def test_a_sample_has_the_newest_streams_and_some_drawn_by_the_seed(
    owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with one_instant(owner):
        few, again, other, all_ = (choose(owner, *given) for given in ((9, 1), (9, 1), (9, 2), (999, 1)))
        assert list(snapshot_differences(owner, few)) == []
    assert few == again != other
    assert few.accounts <= all_.accounts == {f"main/accounts/{name}" for name in "abc"}
    assert len(all_.transactions) == 130
    assert few.ledgers == {"main"}
    monkeypatch.setattr(sampling, "MAX_ACCOUNT_EVENTS", 140)
    with one_instant(owner):
        assert len(choose(owner, 999, 1).accounts - {"main/accounts/c"}) == 1
    owner.execute("UPDATE snapshots SET state = '{}'")
    with one_instant(owner):
        assert len(list(snapshot_differences(owner, all_))) == 2
