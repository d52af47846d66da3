"""Amounts as they are typed, and requests as they are copied into a shell or a program."""

import json
import subprocess

import pytest

from api.console.pages.compose import _curl, _python, minor_units

KEYS = [
    "it's",
    "a';touch${IFS}x;'",
    '"$(id)"',
    "`id`",
    "\\'",
    "".join(map(chr, range(33, 127))).replace("/", ""),
]


@pytest.mark.parametrize(
    ("text", "asset", "amount"),
    [
        ("1 234.50", "USD/2", 123_450),
        ("10.500", "USD/2", 1050),
        (".5", "USD/2", 50),
        ("7", "JPY/0", 7),
        ("7.0", "JPY/0", 7),
        ("0.000000000000000001", "ETH/18", 1),
        ("12345678901.000000000000000001", "ETH/18", 12_345_678_901_000_000_000_000_000_001),
    ],
)
def test_an_amount_is_read_exactly(text: str, asset: str, amount: int) -> None:
    assert minor_units(text, asset) == amount


@pytest.mark.parametrize(
    "text",
    ["", "0", "0.00", "-1", "1,5", "1e3", "1.005", "1.0000000000000000000000000001", "1.2.3", "١", "9" * 31],
)
def test_what_is_no_exact_positive_amount_is_refused(text: str) -> None:
    assert minor_units(text, "USD/2") is None


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_no_command_of_the_shell_that_a_request_is_copied_into(key: str) -> None:
    path, body = "/ledgers/main/transactions", {"description": "it's $(id)"}
    said = subprocess.run(
        [
            "sh",
            "-c",
            f"curl() {{ printf '%s\\n' \"$@\"; }}\nTALLYSTICK_URL=http://x\n{_curl(path, key, body)}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stderr == ""
    words = said.stdout.splitlines()
    assert words[1] == f"http://x/v1{path}"
    assert f"Idempotency-Key: {key}" in words
    assert json.loads(words[-1]) == body


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_no_code_of_the_program_that_a_request_is_copied_into(key: str) -> None:
    compile(_python("/ledgers/main/transactions", key, {}), "copied", "exec")
    assert repr(key) in _python("/ledgers/main/transactions", key, {})
