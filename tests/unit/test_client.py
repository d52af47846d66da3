"""The client's arithmetic and its handling of answers. `contract` tests it over a real network."""

from collections.abc import Mapping

import httpx2
import pytest

from tests.client import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    SENT_AGAIN,
    Client,
    Malformed,
    NotDone,
    Refused,
    Unknown,
    pause_seconds,
)

PROBLEM = {"code": "some_code", "detail": "Some words.", "transaction_id": "some-id"}


@pytest.mark.parametrize(
    ("attempts", "bound"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, LONGEST_PAUSE_SECONDS / 0.05), (10**6, 40)]
)
def test_pauses_double_up_to_a_bound(attempts: int, bound: float) -> None:
    longest = bound * FIRST_PAUSE_SECONDS
    assert pause_seconds(attempts, 0.0, None) == 0.0
    assert pause_seconds(attempts, 0.5, None) == pytest.approx(longest / 2)
    assert pause_seconds(attempts, 1.0, None) == pytest.approx(longest)


@pytest.mark.parametrize(("given", "least"), [("3", 3.0), ("0", 0.0), ("soon", 0.0), ("", 0.0), ("-1", 0.0)])
def test_the_service_may_ask_for_a_longer_pause(given: str, least: float) -> None:
    assert pause_seconds(1, 0.0, given) == least
    assert pause_seconds(1, 1.0, given) == least + FIRST_PAUSE_SECONDS


class Answering:
    """A client that gets these answers in turn, the last one for ever. It keeps its requests and the length of its
    pauses.
    """

    def __init__(self, *answers: int | httpx2.TransportError, headers: Mapping[str, str] = {}) -> None:
        self._answers = iter(answers)
        self._last: int | httpx2.TransportError = answers[-1]
        self._headers = headers
        self.asked: list[httpx2.Request] = []
        self.pauses: list[float] = []
        self.client = Client(
            "http://nowhere",
            "tk_none",
            deadline_seconds=10.0,
            transport=httpx2.MockTransport(self._answer),
            clock=lambda: sum(self.pauses),
            wait=self.pauses.append,
            chance=lambda: 1.0,
        )

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        answer = next(self._answers, self._last)
        if isinstance(answer, httpx2.TransportError):
            raise answer
        return httpx2.Response(answer, json=PROBLEM, headers=self._headers)


@pytest.mark.parametrize(
    "first",
    [*sorted(SENT_AGAIN), httpx2.ReadError("cut"), httpx2.ReadTimeout("late"), httpx2.ConnectError("away")],
)
def test_without_an_answer_the_same_request_is_sent_again(first: int | httpx2.TransportError) -> None:
    answering = Answering(first, first, 201)
    answering.client.post([])
    assert answering.pauses == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS]
    sent = {(str(ask.url), ask.headers["Idempotency-Key"], ask.content) for ask in answering.asked}
    assert (len(answering.asked), len(sent)) == (3, 1)


@pytest.mark.parametrize(
    ("status", "raised"),
    [(400, Malformed), (401, Malformed), (403, Malformed), (404, Malformed), (409, Refused), (412, Malformed)]
    + [(status, Malformed) for status in (405, 413, 415, 422)],
)
def test_an_answer_is_final(status: int, raised: type[NotDone]) -> None:
    answering = Answering(status)
    with pytest.raises(raised) as told:
        answering.client.post([])
    assert type(told.value) is raised
    assert told.value.code == "some_code"
    assert len(answering.asked) == 1


def test_a_fault_of_the_service_is_no_refusal() -> None:
    answering = Answering(500)
    with pytest.raises(Unknown) as told:
        answering.client.post([], key="k")
    assert told.value.key == "k"
    assert len(answering.asked) == 1


def test_a_refusal_names_its_transaction() -> None:
    with pytest.raises(Refused) as told:
        Answering(409).client.post([])
    assert told.value.transaction_id == "some-id"


def test_no_pause_goes_beyond_the_deadline() -> None:
    answering = Answering(503, headers={"Retry-After": "4"})
    with pytest.raises(Unknown) as told:
        answering.client.post([], key="k")
    assert told.value.key == "k"
    assert answering.pauses == [4.05, 4.1]


def test_each_request_has_a_key_of_its_own() -> None:
    answering = Answering(201)
    for _ in range(3):
        answering.client.post([])
    assert len({ask.headers["Idempotency-Key"] for ask in answering.asked}) == 3
