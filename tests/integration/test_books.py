"""Plain-text books: the programs they are for accept them, and refuse them if one amount is changed."""

import os
import random
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from domain.journal.database import Database
from domain.model.accounts import OpenAccount
from domain.model.ledgers import OpenLedger
from tests.author import Author
from tests.integration.exporting import run
from tests.ledgers import CONTEXT, opening, outcomes, running, transfer

pytestmark = pytest.mark.integration

BEAN_CHECK = Path(sys.executable).with_name("bean-check")
AMOUNT = re.compile(rb'^( +[A-Za-z][^ ]*  -?[0-9.]*)([0-9])( "?[A-Z])', re.MULTILINE)


@pytest.fixture
def written(database: Database) -> Database:
    """A journal with every kind of event."""
    author = Author(database, seed=11)
    author.write(rounds=8)
    author.write_of_accounts()
    author.write_of_payouts(8)
    return database


def books(database: Database, form: str, file: Path, *options: object) -> bytes:
    result = run("export", file, "--format", form, *options, database=database)
    assert result.exit_code == 0, result.output
    return file.read_bytes()


def checked(*command: object) -> tuple[int, str]:
    """The exit code and output of a program."""
    ended = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=100)
    return ended.returncode, ended.stdout + ended.stderr


def changed(text: bytes, chance: random.Random) -> bytes:
    """The books with the last digit of one amount changed."""
    found = chance.choice(list(AMOUNT.finditer(text)))
    digit = b"%d" % ((int(found[2]) + 1) % 10)
    return text[: found.start(2)] + digit + text[found.end(2) :]


def test_beancount_accepts_the_books_and_refuses_them_changed(written: Database, tmp_path: Path) -> None:
    file, chance = tmp_path / "books.beancount", random.Random(1)
    text = books(written, "beancount", file)
    assert text.count(b" balance ") > 20 and text.count(b" close ") == 1
    assert checked(BEAN_CHECK, "--no-cache", file) == (0, "")
    for _ in range(3):
        file.write_bytes(changed(text, chance))
        code, words = checked(BEAN_CHECK, "--no-cache", file)
        assert code == 1
        assert "does not balance" in words or "Balance failed" in words
    for form in (["--ledger", "main"], ["--to", "200"]):
        assert len(books(written, "beancount", file, *form)) < len(text)
        assert checked(BEAN_CHECK, "--no-cache", file) == (0, "")


@pytest.mark.skipif(
    shutil.which("hledger") is None and "CI" not in os.environ,
    reason="hledger is not installed on this machine",
)
def test_hledger_accepts_the_books_and_refuses_them_changed(written: Database, tmp_path: Path) -> None:
    file, chance = tmp_path / "books.journal", random.Random(1)
    text = books(written, "hledger", file)
    assert checked("hledger", "-f", file, "check", "--strict") == (0, "")
    for _ in range(3):
        file.write_bytes(changed(text, chance))
        assert checked("hledger", "-f", file, "check")[0] == 1


ADDRESSES = ("a_b", "a-b", "A-b", "-", "_x:y", "0:1", "a-b-2")


@pytest.mark.parametrize("asset", ["A/0", "TRUE/2", "US_/3", "U_S/18"])
def test_names_that_the_programs_do_not_have(database: Database, tmp_path: Path, asset: str) -> None:
    with running(database) as ledger:
        ledger.perform(OpenLedger(CONTEXT, "main", {}))
        for address in ADDRESSES:
            ledger.perform(OpenAccount(CONTEXT, "main", address, opening(None, None, asset)))
        pairs = pairwise(ADDRESSES)
        outcomes(ledger.execute(*(transfer(*pair, 7 * 10**9) for pair in pairs)).result())
    file = tmp_path / "books"
    for form, *command in (
        ("beancount", BEAN_CHECK, "--no-cache"),
        ("hledger", "hledger", "check", "--strict", "-f"),
    ):
        text = books(database, form, file).decode()
        assert all(f'address: "{address}"' in text or f"main:{address}\n" in text for address in ADDRESSES)
        if shutil.which(str(command[0])):
            assert checked(*command, file) == (0, "")
