"""Names of ledgers, accounts and streams.

A stream's id is text that a person can read in SQL: `main/accounts/users:alice:wallet`.
"""

import re

LEDGER_PATTERN = r"^[a-z][a-z0-9-]{0,62}$"
ADDRESS_PATTERN = r"^[A-Za-z0-9_-]{1,64}(?::[A-Za-z0-9_-]{1,64}){0,9}$"
PROVIDER_PATTERN = r"^[a-z][a-z0-9-]{0,31}$"
MAX_ADDRESS_LENGTH = 255

INSTALLATION = "-"
"""Takes the ledger's place in streams that belong to the whole installation. No ledger can have this name."""

_LEDGER = re.compile(LEDGER_PATTERN[1:-1])
_ADDRESS = re.compile(ADDRESS_PATTERN[1:-1])


def is_ledger_name(text: str) -> bool:
    """Tell whether the text can name a ledger."""
    return _LEDGER.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Tell whether the text can be an account's address: 1 to 10 segments joined by colons."""
    return len(text) <= MAX_ADDRESS_LENGTH and _ADDRESS.fullmatch(text) is not None


def ledger_stream(ledger: str) -> str:
    """Return the id of the stream of the ledger's own events."""
    return f"{ledger}/ledger"


def account_stream(ledger: str, address: str) -> str:
    """Return the id of the stream of an account's events."""
    return f"{ledger}/accounts/{address}"


def transaction_stream(ledger: str, transaction_id: str) -> str:
    """Return the id of the stream of a transaction's events."""
    return f"{ledger}/transactions/{transaction_id}"


def payout_stream(ledger: str, payout_id: str) -> str:
    """Return the id of the stream of a payout's events. The payout's hold is the transaction with the same id."""
    return f"{ledger}/payouts/{payout_id}"


def key_stream(key_id: str) -> str:
    """Return the id of the stream of an API key's events. They belong to no ledger."""
    return f"{INSTALLATION}/keys/{key_id}"


def arrival_stream(ledger: str) -> str:
    """Return the id of the stream of an installation's own events about a ledger that it takes in."""
    return f"{INSTALLATION}/arrivals/{ledger}"


def witnessed_stream(name: str) -> str:
    """Return the id of the stream of what was witnessed of another installation. It belongs to no ledger."""
    return f"{INSTALLATION}/witnesses/{name}"


def is_account_stream(stream: str) -> bool:
    """Tell whether a stream belongs to an account."""
    return "/accounts/" in stream


def is_transaction_stream(stream: str) -> bool:
    """Tell whether a stream belongs to a transaction."""
    return "/transactions/" in stream


def ledger_of(stream: str) -> str:
    """Return the name of the ledger that a stream belongs to, or `INSTALLATION` if it belongs to none."""
    return stream.partition("/")[0]


def name_of(stream: str) -> str:
    """Return the last part of a stream's id: an account's address, a transaction's id."""
    return stream.split("/", 2)[-1]
