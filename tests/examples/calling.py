"""How the example programs call the ledger: plain HTTP, and the same request again until there is an answer.

A program of yours needs no more than this. `tests/client.py` shows the same with growing pauses and every answer told
apart.
"""

from collections.abc import Mapping
from time import monotonic, sleep
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import httpx2

DEADLINE_SECONDS = 20.0
PAUSE_SECONDS = 0.1


class Refused(Exception):
    """A rule refused the request. Under its key that is final; `code` says why."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(problem["detail"])
        self.code = str(problem["code"])


class Unknown(Exception):
    """No answer came in time. It may have been done: send it again later under the same key, never as a new one."""


class Ledger:
    """One ledger, called through a client that knows the service's address and has an API key."""

    def __init__(self, http: httpx2.Client, name: str) -> None:
        self.name = name
        self._http = http
        self._newest = 0

    def open(self, *accounts: Mapping[str, Any]) -> None:
        """Open the ledger and accounts. Repeating it changes nothing."""
        self._send("POST", "/v1/ledgers", {"name": self.name})
        for account in accounts:
            self.post("accounts", account)

    def post(self, path: str, body: Mapping[str, Any], key: str | None = None) -> dict[str, Any]:
        """Do something in the ledger. Everything that moves money needs a key, stored before the first attempt."""
        return self._send("POST", f"/v1/ledgers/{self.name}/{path}", body, key)

    def get(self, path: str) -> dict[str, Any]:
        """Return one thing as it is now."""
        return self._send("GET", f"/v1/ledgers/{self.name}/{path}")

    def list(self, path: str, **filters: str) -> list[dict[str, Any]]:
        """Return a page of a list that shows everything this program has written."""
        query = httpx2.QueryParams({**filters, "min_position": str(self._newest)})
        found: list[dict[str, Any]] = self._send("GET", f"/v1/ledgers/{self.name}/{path}?{query}")["data"]
        return found

    def id_of(self, key: str) -> str:
        """Return the id of what a key makes, which is known before it is made."""
        return str(uuid5(NAMESPACE_URL, f"tallystick:{self.name}/{key}"))

    def _send(self, method: str, path: str, body: Any = None, key: str | None = None) -> dict[str, Any]:
        give_up_at = monotonic() + DEADLINE_SECONDS
        headers = {"Idempotency-Key": key} if key else {}
        while monotonic() < give_up_at:
            try:
                answer = self._http.request(method, path, json=body, headers=headers)
            except httpx2.TransportError:
                continue  # lost on the way there or on the way back: nobody knows
            if answer.status_code < 500 and answer.status_code not in (408, 429):
                return self._content(answer)
            sleep(PAUSE_SECONDS)
        raise Unknown(f"{method} {path}")

    def _content(self, answer: httpx2.Response) -> dict[str, Any]:
        content: dict[str, Any] = answer.json()
        if answer.status_code == 409:
            raise Refused(content)
        answer.raise_for_status()
        if answer.request.method == "POST":
            self._newest = max(self._newest, int(answer.headers["Ledger-Position"]))
        return content
