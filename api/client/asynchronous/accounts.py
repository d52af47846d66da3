"""The accounts of a ledger: opened, read, changed, and their statements."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Literal

from ..entries import Direction
from ..paths import segment
from ..resources import Account, BalanceAt, Metadata, StatementEntry
from . import lists
from .calls import Calls

Clock = Literal["effective", "recorded"]


class Accounts:
    """The accounts of one ledger. Limits and amounts are in minor units. Every call raises `Problem`, `Unreachable`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def open(
        self,
        address: str,
        asset: str,
        normal_side: Direction,
        *,
        min_balance: int | None = None,
        max_balance: int | None = None,
        metadata: Metadata | None = None,
    ) -> Account:
        """Open an account. Idempotent. Raises `AccountExists` if it was opened with other attributes."""
        body = {"address": address, "asset": asset, "normal_side": normal_side, "metadata": metadata or {}}
        limits = {"min_balance": min_balance, "max_balance": max_balance}
        return await self._calls.write(Account, "accounts", {**body, **limits})

    async def get(
        self, address: str, *, at_position: int | None = None, at: datetime | None = None
    ) -> Account:
        """Return an account with every acknowledged write, or as it stood at a position or a recorded time."""
        return await self._calls.read(Account, _path(address), at_position=at_position, at=at)

    async def change(self, address: str, *, if_version: int | None = None, **members: Any) -> Account:
        """Change `min_balance`, `max_balance` or `metadata`; what is not named stays.

        Raises `VersionMismatch` if the account is no longer at `if_version`.
        """
        headers = {} if if_version is None else {"If-Match": f'"{if_version}"'}
        return await self._calls.write(Account, _path(address), members, "PATCH", headers)

    async def freeze(self, address: str, reason: str = "") -> Account:
        """Let an account refuse everything except voids and expiries. Idempotent."""
        return await self._set_status(address, "freeze", reason)

    async def unfreeze(self, address: str, reason: str = "") -> Account:
        """End a freeze. Idempotent."""
        return await self._set_status(address, "unfreeze", reason)

    async def close(self, address: str, reason: str = "") -> Account:
        """Close an empty account for ever. Idempotent. Raises `AccountNotEmpty`."""
        return await self._set_status(address, "close", reason)

    async def _set_status(self, address: str, verb: str, reason: str) -> Account:
        return await self._calls.write(Account, f"{_path(address)}/{verb}", {"reason": reason})

    def list(
        self,
        *,
        prefix: str | None = None,
        asset: str | None = None,
        status: str | None = None,
        metadata: Metadata | None = None,
        order: Literal["asc", "desc"] = "asc",
    ) -> AsyncIterator[Account]:
        """Yield accounts in the order of their addresses."""
        filters = {"prefix": prefix, "asset": asset, "status": status, "metadata": metadata, "order": order}
        return lists.items(self._calls, "accounts", Account, **filters)

    def entries(
        self,
        address: str,
        *,
        from_: datetime | None = None,
        to: datetime | None = None,
        clock: Clock = "recorded",
        order: Literal["asc", "desc"] = "asc",
    ) -> AsyncIterator[StatementEntry]:
        """Yield the statement: posted entries, with the balance after each."""
        filters = {"from_": from_, "to": to, "clock": clock, "order": order}
        return lists.items(self._calls, f"{_path(address)}/entries", StatementEntry, **filters)

    async def balance(
        self, address: str, *, at: datetime | None = None, clock: Clock = "effective"
    ) -> BalanceAt:
        """Return the balance at a time, which is now by default, by one of the clocks."""
        return await self._calls.read_list(BalanceAt, f"{_path(address)}/balance", at=at, clock=clock)


def _path(address: str) -> str:
    return f"accounts/{segment(address)}"
