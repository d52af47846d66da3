"""What the client makes of each kind of answer, with a script in place of the network."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpx2
import pytest

from api.client import (
    ChangeUnknown,
    Done,
    Ledger,
    NotRecorded,
    OutcomeUnknown,
    Policy,
    Refused,
    StillWorking,
    Tallystick,
    Unreachable,
    credit,
    debit,
)
from api.client.problem import Unavailable
from api.client.problems import Forbidden, InvalidRequest, ProjectionBehind

LOST = httpx2.ReadTimeout("no answer")
NOT_SENT = httpx2.ConnectError("no connection")
PAGE = httpx2.Response(502, text="<html>")
MADE = {
    "id": "1",
    "entries": [],
    "related": {},
    "effective_at": "2026-11-30T12:00:00Z",
    "recorded_at": "2026-11-30T12:00:00Z",
    "position": 7,
}
DONE = httpx2.Response(201, json=MADE, headers={"Ledger-Position": "7"})
UNKNOWN = httpx2.Response(404, json={"code": "operation_unknown", "detail": ""})
ACCEPTED = {
    "state": "accepted",
    "accepted_at": "2026-11-30T12:00:00Z",
    "resource": "/v1/ledgers/l/transactions/1",
}
HURRIED = Policy(
    deadline_seconds=0.5, last_deadline_seconds=1, first_pause_seconds=0.001, longest_pause_seconds=0.01
)


def problem(status: int, code: str, **headers: str) -> httpx2.Response:
    return httpx2.Response(status, json={"code": code, "detail": "", "status": status}, headers=headers)


class Script(httpx2.AsyncBaseTransport):
    """Answers with each step in turn, and with the last one from then on."""

    def __init__(self, steps: Iterable[httpx2.Response | Exception]) -> None:
        self._steps = list(steps)
        self.requests: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        if isinstance(step, Exception):
            raise step
        return httpx2.Response(step.status_code, headers=step.headers, content=step.content)

    @property
    def asked(self) -> list[str]:
        return [
            f"{request.method} {request.url.path.removeprefix('/v1/ledgers/l/')}" for request in self.requests
        ]


def play(
    act: Callable[[Ledger], Awaitable[Any]], *steps: httpx2.Response | Exception, policy: Policy = HURRIED
) -> tuple[Any, Script]:
    """Return what a call returns, or the exception that it raises, and the requests that it made."""
    script = Script(steps)

    async def run() -> Any:
        async with Tallystick("http://ledger", "tk_key", policy, transport=script) as tally:
            return await act(tally.ledger("l"))

    try:
        return asyncio.run(run()), script
    except Exception as error:  # noqa: BLE001 - it is what the test is about
        return error, script


async def post(ledger: Ledger) -> Any:
    return await ledger.post(debit("a", 1), credit("b", 1), key="k")


@pytest.mark.parametrize(
    "step",
    [
        LOST,
        NOT_SENT,
        PAGE,
        httpx2.Response(200, text="<html>"),
        *[problem(status, "") for status in (408, 425, 429, 503, 504)],
    ],
    ids=repr,
)
def test_it_is_sent_again_unchanged(step: httpx2.Response | Exception) -> None:
    outcome, script = play(post, step, step, DONE)
    assert isinstance(outcome, Done)
    assert script.asked == ["POST transactions"] * 3
    assert len({(request.content, request.headers["idempotency-key"]) for request in script.requests}) == 1


def test_a_refusal_is_not_sent_again() -> None:
    outcome, script = play(post, problem(409, "account_frozen"))
    assert isinstance(outcome, Refused) and script.asked == ["POST transactions"]


def test_what_is_malformed_is_not_sent_again() -> None:
    error, script = play(post, problem(422, "invalid_request"))
    assert isinstance(error, InvalidRequest) and error.key == "k" and script.asked == ["POST transactions"]


def test_the_service_is_not_asked_before_it_wants_to_be() -> None:
    """It asks for more time than the deadline leaves, so the client asks for the key at once."""
    outcome, script = play(post, problem(503, "overloaded", **{"Retry-After": "9"}), UNKNOWN, DONE)
    assert isinstance(outcome, Done)
    assert script.asked == ["POST transactions", "GET operations/k", "POST transactions"]


def test_the_budget_of_attempts_ends_before_the_deadline() -> None:
    few = Policy(max_attempts=3, first_pause_seconds=0.001)
    outcome, script = play(post, LOST, LOST, LOST, UNKNOWN, DONE, policy=few)
    assert isinstance(outcome, Done)
    assert script.asked == [*["POST transactions"] * 3, "GET operations/k", "POST transactions"]


def test_a_key_that_ends_between_attempts_does_not_hide_what_the_first_did() -> None:
    error, script = play(post, LOST, problem(401, "unauthenticated"))
    assert isinstance(error, OutcomeUnknown) and error.key == "k" and "k" in str(error)
    assert script.asked == [*["POST transactions"] * 2, "GET operations/k"]
    assert isinstance(play(post, NOT_SENT, problem(403, "forbidden"))[0], Forbidden)


def test_what_is_still_worked_on_is_said() -> None:
    outcome, _ = play(post, LOST, httpx2.Response(202, json=ACCEPTED), httpx2.Response(200, json=ACCEPTED))
    assert isinstance(outcome, StillWorking) and outcome.operation.state == "accepted"


def test_an_outage_after_the_acceptance_leaves_the_key() -> None:
    error, _ = play(post, httpx2.Response(202, json=ACCEPTED), LOST)
    assert isinstance(error, OutcomeUnknown) and error.key == "k"


def test_a_service_that_answers_and_takes_nothing_has_recorded_nothing() -> None:
    steps = [problem(500, "internal_error"), *[UNKNOWN, problem(500, "internal_error")] * 10_000]
    error, _ = play(post, *steps)
    assert isinstance(error, NotRecorded) and error.key == "k"


def test_a_change_without_a_key_whose_answer_was_lost_is_not_judged_by_the_next() -> None:
    async def change(ledger: Ledger) -> Any:
        return await ledger.accounts.change("a", min_balance=0, if_version=3)

    error, script = play(change, LOST, problem(412, "version_mismatch"))
    assert isinstance(error, ChangeUnknown)
    assert [request.headers["if-match"] for request in script.requests] == ['"3"', '"3"']


def test_a_read_ends_with_what_it_met_last() -> None:
    async def read(ledger: Ledger) -> Any:
        return await ledger.accounts.balance("a")

    assert isinstance(play(read, NOT_SENT)[0], Unreachable)
    assert isinstance(play(read, problem(503, "projection_behind"))[0], ProjectionBehind)
    error, _ = play(read, PAGE)
    assert type(error) is Unavailable and "502" in str(error)


def test_lists_are_read_from_the_newest_position_that_was_told() -> None:
    async def write_and_read(ledger: Ledger) -> Any:
        await ledger.post(debit("a", 1), credit("b", 1))
        return [shown async for shown in ledger.transactions(status="posted")]

    pages = [
        httpx2.Response(200, json={"data": [MADE], "next_cursor": "c"}, headers={"Ledger-Position": "9"}),
        httpx2.Response(200, json={"data": [MADE], "next_cursor": None}, headers={"Ledger-Position": "8"}),
    ]
    shown, script = play(write_and_read, DONE, *pages)
    assert [transaction.id for transaction in shown] == ["1", "1"]
    asked = [dict(request.url.params) for request in script.requests[1:]]
    first = {"status": "posted", "min_position": "7", "page_size": "100"}
    assert asked == [first, {**first, "cursor": "c"}]
