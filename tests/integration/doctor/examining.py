"""An installation to examine, and what the checks of the doctor find in it."""

from typing import Any

from domain.journal.database import Database
from scripts.commands.doctor import examinations
from scripts.commands.keys import keys
from scripts.doctor.examination import Check, Limits, Scope, examine
from scripts.doctor.finding import Finding
from tests.commands import invoke
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import await_head, eventually, projecting

ALL = Scope(whole=True, sample_events=500, seed=1)
SAMPLE = Scope(whole=False, sample_events=500, seed=1)
PATIENCE_SECONDS = 60.0


def fill(database: Database) -> None:
    """Write a journal and bring its projections to the head. No service runs."""
    with running(database) as ledger, projecting(database), database.connect("test") as connection:
        open_accounts(ledger, "alice", "bob", minimum=-1000)
        outcomes(ledger.execute(*(transfer("alice", "bob", 1) for _ in range(120))).result())
        eventually(lambda: connection.execute("SELECT count(*) FROM snapshots").fetchone() == (2,))
        make_key(database)
        await_head(connection)


def make_key(database: Database) -> None:
    """Make a key: without one, a finding says that none is valid."""
    options = ["--database-url", database.url, "--schema", database.schema]
    made = invoke(keys, ["make", "shop", "--role", "client", "--ledger-to-come", "main", *options])
    assert made.exit_code == 0, made.output


def codes(database: Database, check: Any, limits: Limits | None = None, scope: Scope = ALL) -> list[str]:
    """The codes that one check finds."""
    return [finding.code for finding in found_by(database, check, limits, scope)]


def found_by(
    database: Database, check: Any, limits: Limits | None = None, scope: Scope = ALL
) -> list[Finding]:
    """The findings of one check."""
    return examine(database, Check("it", check), scope, PATIENCE_SECONDS, limits or Limits()).findings


def everything(database: Database, scope: Scope = ALL) -> dict[str, str]:
    """The findings of all checks by code, without those about the server itself and other tests on it."""
    return {
        finding.code: finding.found
        for examined in examinations(database, scope, PATIENCE_SECONDS)
        for finding in examined.findings
        if examined.name not in ("there is room", "no session blocks others", "the log is archived")
    }
