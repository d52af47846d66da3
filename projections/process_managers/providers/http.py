"""A provider with an HTTP interface, such as the simulator (`tallystick simulate-provider`).

`POST {url}/payouts` under an `Idempotency-Key` submits an order. `GET {url}/payouts/{key}` asks about it. Both answer
`{"key", "state", "amount", "asset", "reference", "detail"}`, where `state` is `processing`, `completed`, `failed` or
`unknown`. A callback has the same as its `data`. Only such an answer says what the provider did: a 404 or 422 without
it may come from something in between, and with a 5xx the provider itself does not know.
"""

import base64
import json
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote, unquote

import httpcore2
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from domain.model.money import MAX_AMOUNT
from domain.model.payouts.payout import Verdict
from domain.model.payouts.reports import Report
from projections.process_managers.providers.connections import TimedNetwork
from projections.process_managers.providers.interface import Callback, NoAnswer, Order
from projections.process_managers.providers.settings import ProviderSettings

CONNECT_TIMEOUT_SECONDS = 3.0
MAX_ANSWER_BYTES = 64 * 1024
MAX_WORDS_LENGTH = 500
KEEP_ALIVE_SECONDS = 5.0

_FAULTS = (
    httpcore2.NetworkError,
    httpcore2.TimeoutException,
    httpcore2.ProtocolError,
    httpcore2.UnsupportedProtocol,
)


def _words(text: object) -> object:
    """Cut text of others to the length that is stored, without U+0000 and lone surrogates, which cannot be stored."""
    if not isinstance(text, str):
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:MAX_WORDS_LENGTH]


Words = Annotated[str, BeforeValidator(_words)]


class ProviderAnswer(BaseModel):
    """The provider's answer about a payout. Unknown members are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)

    key: Annotated[str, Field(max_length=255)]
    state: Verdict
    amount: Annotated[int, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)] | None = None
    asset: Annotated[str, Field(max_length=64, pattern=r"^[^\x00]*$")] | None = None
    reference: Words = ""
    detail: Words = ""

    @property
    def report(self) -> Report:
        """The answer as a report."""
        return Report(self.state, self.amount, self.asset, self.detail, self.reference)


class HttpProvider:
    """A provider at a URL."""

    def __init__(self, settings: ProviderSettings) -> None:
        self._url = str(settings.url).rstrip("/")
        self._headers = {"Accept": "application/json", "User-Agent": "Tallystick", **_credentials(settings)}
        self._timeout_seconds = settings.timeout_seconds
        self.max_calls = settings.max_connections
        self.patience_seconds = 2 * settings.timeout_seconds
        self._network = TimedNetwork()
        self._pool = httpcore2.ConnectionPool(
            max_connections=settings.max_connections,
            max_keepalive_connections=settings.max_connections,
            keepalive_expiry=KEEP_ALIVE_SECONDS,
            network_backend=self._network,
        )

    def submit(self, order: Order) -> Report:
        """Submit an order to be paid out. Raises `NoAnswer`."""
        body = {
            "key": order.key,
            "amount": order.amount,
            "asset": order.asset,
            "destination": order.destination,
            "reference": order.reference,
        }
        headers = {"Idempotency-Key": order.key, "Content-Type": "application/json"}
        report = self._call(order, "POST", f"{self._url}/payouts", headers, json.dumps(body).encode())
        if report.verdict == "unknown":
            raise NoAnswer("the provider does not know the payout that was just submitted")
        return report

    def ask(self, order: Order) -> Report:
        """Return what became of an order. Raises `NoAnswer`."""
        path = f"{self._url}/payouts/{quote(order.key, safe='')}"
        return self._call(order, "GET", path)

    def read_callback(self, payload: Mapping[str, Any]) -> Callback:
        """Return what a callback says. Raises `ValueError` if it says nothing."""
        answer = ProviderAnswer.model_validate(payload.get("data"))
        if answer.state == "unknown":
            raise ValueError("a callback must be about a payout that the provider knows")
        return Callback(answer.key, answer.report)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def _call(
        self, order: Order, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Report:
        sent = {**self._headers, **_conversation(order), **(headers or {})}
        timeouts = {
            "connect": min(CONNECT_TIMEOUT_SECONDS, self._timeout_seconds),
            "pool": self._timeout_seconds,
        }
        try:
            with (
                self._network.call(self._timeout_seconds),
                self._pool.stream(
                    method, url, headers=list(sent.items()), content=body, extensions={"timeout": timeouts}
                ) as response,
            ):
                return _understood(order, response.status, _read(response))
        except _FAULTS as error:
            raise NoAnswer(f"{type(error).__name__} before an answer") from error


def _credentials(settings: ProviderSettings) -> dict[str, str]:
    """Return the header that authenticates the caller: the API key, or else the user and password of the URL."""
    url = settings.url
    if settings.api_key:
        return {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}
    if url.username:
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def _conversation(order: Order) -> dict[str, str]:
    headers = {"Correlation-Id": order.correlation_id}
    return headers if order.traceparent is None else {**headers, "traceparent": order.traceparent}


def _read(response: httpcore2.Response) -> bytes:
    """Return the body. Raises `NoAnswer` if it is too long."""
    body = bytearray()
    for part in response.iter_stream():
        body += part
        if len(body) > MAX_ANSWER_BYTES:
            raise NoAnswer("the answer is too long")
    return bytes(body)


def _understood(order: Order, status: int, body: bytes) -> Report:
    if status >= 500 or status in (408, 429):
        raise NoAnswer(f"the provider answered {status}")
    try:
        answer = ProviderAnswer.model_validate(json.loads(body.decode(), object_pairs_hook=_unique))
    except (ValueError, RecursionError):  # pydantic's ValidationError is a ValueError
        raise NoAnswer(f"the provider answered {status} without a valid answer") from None
    if answer.key != order.key:
        raise NoAnswer("the provider answered about another payout")
    return answer.report


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of an object. Raises `ValueError` if one appears twice, since either value could be meant."""
    value = dict(members)
    if len(value) != len(members):
        raise ValueError("a member appears twice")
    return value
