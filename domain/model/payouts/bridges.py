"""Bridges: payouts whose provider is another ledger. What both sides call their accounts, and the key between them.

Each ledger has an account for each other ledger and asset: what the other owes it, debits − credits. A bridge credits
the sender's account and debits the receiver's, so that the two cancel out.
"""

from collections.abc import Mapping
from typing import Any

from domain.model.idempotency import operation_id
from domain.model.money import split_asset

BRIDGE = "bridge"
"""The provider of every bridge. No provider of this name can be configured."""

ACCOUNTS = "bridges"
"""The first segment of the addresses of the accounts that bridges keep."""


def is_bridge(provider: str, destination: Mapping[str, Any]) -> bool:
    """Tell whether a payout is a bridge. A provider of this name that was configured in the past named no ledger."""
    return provider == BRIDGE and "ledger" in destination


def bridge_account(other: str, asset: str) -> str:
    """Return the address of the account of what the ledger `other` owes in an asset; below zero, what it is owed."""
    code, _ = split_asset(asset)
    return f"{ACCOUNTS}:{other}:{code}"


def is_bridge_account(address: str) -> bool:
    """Tell whether an address is that of a bridge's account. No bridge takes from such an account or gives to one."""
    return address.partition(":")[0] == ACCOUNTS


def receiving_key(provider_key: str) -> str:
    """Return the key of a bridge at the receiving ledger. No client can use it, because keys of clients have no slash.

    `provider_key` is the payout's, so the key is the same in every attempt, and tells installations apart.
    """
    return f"{BRIDGE}/{provider_key}"


def received_id(receiver: str, provider_key: str) -> str:
    """Return the id of the transaction that the ledger `receiver` records for a bridge, whatever its outcome."""
    return operation_id(receiver, receiving_key(provider_key))
