"""Commands that read the database of a standby: what has not arrived there is not denied."""

import httpx2
import pytest
from typer.testing import Result

from scripts.tallystick import application
from tests.commands import invoke
from tests.contract.books import Book
from tests.integration.replicas.pairs import Pair, run

pytestmark = pytest.mark.integration

READING = (
    ("stuck",),
    ("projections", "list"),
    ("dead-letters", "list"),
    ("webhooks", "list"),
    ("payouts", "list"),
)
NOBODY = "00000000-0000-0000-0000-000000000001"


def on_copy(pair: Pair, *command: str) -> Result:
    options = ["--database-url", pair.copy.url, "--schema", pair.copy.schema]
    return invoke(application([command[0]]), [*command, *options])


def test_a_request_that_has_not_arrived_is_not_denied(pair: Pair, primary: httpx2.Client, book: Book) -> None:
    with pair.not_replaying():
        book.transfer("a", "b", 10, "late")
        early = on_copy(pair, "trace", "late", "--ledger", book.name)
    assert early.exit_code == 3
    assert "nothing of late has arrived in this copy: ask the primary" in early.stderr
    assert "is recorded" not in early.stderr
    pair.replayed()
    position = run(pair.primary, "SELECT position FROM tallystick.head")
    found = on_copy(pair, "trace", "late", "--ledger", book.name)
    assert (found.exit_code, "Verdict" in found.stdout) == (0, True)
    assert (
        f"read from a standby, up to position {position}: its primary may have recorded more" in found.stderr
    )


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_what_is_listed_says_how_far_the_copy_is(pair: Pair, book: Book, command: tuple[str, ...]) -> None:
    pair.replayed()
    position = run(pair.standby, "SELECT position FROM tallystick.head")
    listed = on_copy(pair, *command, "--json")
    assert f"read from a standby, up to position {position}: its" in listed.stderr
    assert "standby" not in listed.stdout
    assert (
        "standby"
        not in invoke(
            application([command[0]]), [*command, "--database-url", pair.served.database.url]
        ).stderr
    )


@pytest.mark.parametrize("command", [("show", NOBODY), ("complete", NOBODY, "--reason", "x")], ids=" ".join)
def test_what_is_not_found_may_be_at_the_primary(pair: Pair, book: Book, command: tuple[str, ...]) -> None:
    missing = on_copy(pair, "payouts", *command)
    assert missing.exit_code == 3
    assert "its primary may have recorded more" in missing.stderr
