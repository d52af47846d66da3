"""Callers of the service under test, by their keys."""

from typing import Any
from uuid import uuid4

import httpx2

from tests.contract.serving import Served


class Keys:
    """Makes keys and clients for them."""

    def __init__(self, served: Served, client: httpx2.Client) -> None:
        self._served = served
        self._client = client
        self._opened: list[httpx2.Client] = []
        self.last_name = ""
        """The name of the newest client's key."""

    def make(self, *roles: str, ledgers: list[str]) -> dict[str, Any]:
        """Make a key with a new name and return the answer. Its ledgers need not exist."""
        name = f"{'-'.join(roles)} {uuid4().hex[:12]}"
        to_come = [ledger for ledger in ledgers if ledger != "*"]
        granted = [ledger for ledger in ledgers if ledger == "*"]
        body = {"name": name, "roles": list(roles), "ledgers": granted, "ledgers_to_come": to_come}
        answer = self._client.post("/v1/keys", json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def client(self, *roles: str, ledgers: list[str]) -> httpx2.Client:
        """Make a key and return a client that uses it."""
        made = self.make(*roles, ledgers=ledgers)
        self.last_name = made["name"]
        return self.client_with(made["key"])

    def client_with(self, key: str | None) -> httpx2.Client:
        """Return a client that uses a key."""
        self._opened.append(self._served.client(key))
        return self._opened[-1]

    def close(self) -> None:
        """Close the clients."""
        for client in self._opened:
            client.close()
