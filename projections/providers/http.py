"""A provider that is spoken to over HTTP, as the simulator is (`tallystick simulate-provider`).

`POST {url}/payouts` under an `Idempotency-Key` has an order paid out, `GET {url}/payouts/{key}` asks for it. Both
answer `{"key", "state", "amount", "asset", "reference", "detail"}`, `state` being `processing`, `completed`, `failed`
or `unknown`; a callback has that as its `data`. Only such an answer says anything: a 404 or a 422 without it may come
from whatever stands between, and a 5xx means that the provider itself does not know.
"""

from collections.abc import Mapping
from time import monotonic
from typing import Annotated, Any
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from domain.payout_reports import Report
from domain.payouts import Verdict
from projections.providers.interface import Callback, NoAnswer, Order
from projections.providers.settings import ProviderSettings

CONNECT_TIMEOUT_SECONDS = 3.0
MAX_ANSWER_BYTES = 64 * 1024
MAX_WORDS_LENGTH = 500


def _words(text: object) -> object:
    """Cut what others say to what is kept of it; U+0000 cannot be."""
    return text.replace("\0", "")[:MAX_WORDS_LENGTH] if isinstance(text, str) else text


Words = Annotated[str, BeforeValidator(_words)]


class Answer(BaseModel):
    """What the provider says of a payout; members that are not known here say nothing."""

    model_config = ConfigDict(strict=True, frozen=True)

    key: Annotated[str, Field(max_length=255)]
    state: Verdict
    amount: int | None = None
    asset: Annotated[str, Field(max_length=64, pattern=r"^[^\x00]*$")] | None = None
    reference: Words = ""
    detail: Words = ""

    @property
    def report(self) -> Report:
        """The report that it is."""
        return Report(self.state, self.amount, self.asset, self.detail, self.reference)


class HttpProvider:
    """A provider at a URL."""

    def __init__(self, settings: ProviderSettings) -> None:
        self._url = str(settings.url).rstrip("/")
        self._timeout_seconds = settings.timeout_seconds
        self.max_calls = settings.max_connections
        self.patience_seconds = 2 * settings.timeout_seconds
        key = settings.api_key
        self._client = httpx2.Client(
            headers={"Authorization": f"Bearer {key.get_secret_value()}"} if key else {},
            timeout=httpx2.Timeout(
                settings.timeout_seconds, connect=min(CONNECT_TIMEOUT_SECONDS, settings.timeout_seconds)
            ),
            limits=httpx2.Limits(
                max_connections=settings.max_connections, max_keepalive_connections=settings.max_connections
            ),
            trust_env=False,  # where money goes is said in the settings, and nowhere else
        )

    def submit(self, order: Order) -> Report:
        """Have an order paid out; raise `NoAnswer`."""
        body = {
            "key": order.key,
            "amount": order.amount,
            "asset": order.asset,
            "destination": order.destination,
            "reference": order.reference,
        }
        headers = {"Idempotency-Key": order.key, **_conversation(order)}
        report = self._call(order, "POST", f"{self._url}/payouts", headers=headers, json=body)
        if report.verdict == "unknown":
            raise NoAnswer("the provider does not know what was just submitted")
        return report

    def ask(self, order: Order) -> Report:
        """Return what became of an order; raise `NoAnswer`."""
        path = f"{self._url}/payouts/{quote(order.key, safe='')}"
        return self._call(order, "GET", path, headers=_conversation(order))

    def read_callback(self, payload: Mapping[str, Any]) -> Callback:
        """Return what a callback says; raise `ValueError`."""
        answer = Answer.model_validate(payload.get("data"))
        if answer.state == "unknown":
            raise ValueError("a callback is of a payout that the provider knows")
        return Callback(answer.key, answer.report)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _call(self, order: Order, method: str, url: str, **request: Any) -> Report:
        give_up_at = monotonic() + self._timeout_seconds
        try:
            with self._client.stream(method, url, **request) as response:
                body = _read(response, give_up_at)
        except httpx2.HTTPError as error:
            raise NoAnswer(f"{type(error).__name__} before an answer") from error
        return _understood(order, response.status_code, body)


def _conversation(order: Order) -> dict[str, str]:
    headers = {"Correlation-Id": order.correlation_id}
    return headers if order.traceparent is None else {**headers, "traceparent": order.traceparent}


def _read(response: httpx2.Response, give_up_at: float) -> bytes:
    """Return the body; raise `NoAnswer` if it is too long, or comes too slowly although it never stops."""
    body = bytearray()
    for part in response.iter_raw():
        body += part
        if len(body) > MAX_ANSWER_BYTES or monotonic() > give_up_at:
            raise NoAnswer("an answer without end")
    return bytes(body)


def _understood(order: Order, status: int, body: bytes) -> Report:
    if status >= 500 or status in (408, 429):
        raise NoAnswer(f"the provider answered {status}")
    try:
        answer = Answer.model_validate_json(body)
    except ValidationError:
        raise NoAnswer(f"the provider answered {status} with what is no answer") from None
    if answer.key != order.key:
        raise NoAnswer("the provider answered of another payout")
    return answer.report
