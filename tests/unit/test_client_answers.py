"""What the client makes of each kind of answer, with a script in place of the network."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpx2
import pytest

from api.client import (
    ChangeUnknown,
    Done,
    HistoryLost,
    Ledger,
    Money,
    NotRecorded,
    OutcomeUnknown,
    Policy,
    Post,
    Refused,
    StillWorking,
    Tallystick,
    TallystickError,
    Unreachable,
    Unusable,
    credit,
    debit,
    id_of,
)
from api.client.keys import fingerprint
from api.client.problem import Missing, Unavailable
from api.client.problems import (
    Forbidden,
    IdempotencyKeyInvalid,
    IdempotencyKeyReused,
    InvalidRequest,
    ProjectionBehind,
)
from tests.service import ROOT

LOST = httpx2.ReadTimeout("no answer")
NOT_SENT = httpx2.ConnectError("no connection")
PAGE = httpx2.Response(502, text="<html>")
MADE = {
    "id": id_of("l", "k"),
    "ledger": "l",
    "kind": "posting",
    "status": "posted",
    "entries": [{"account": account, "direction": "debit", "amount": 1} for account in ("a", "b")],
    "reference": "",
    "description": "",
    "metadata": {},
    "effective_at": "2026-11-30T12:00:00Z",
    "recorded_at": "2026-11-30T12:00:00Z",
    "idempotency_key": "k",
    "correlation_id": "c",
    "actor": "me",
    "related": {"reversed_by": []},
    "version": 1,
    "position": 7,
}
DONE = httpx2.Response(201, json=MADE, headers={"Ledger-Position": "7"})
UNKNOWN = httpx2.Response(404, json={"code": "operation_unknown", "detail": ""})
BODY = {
    "entries": [
        {"account": "a", "direction": "debit", "amount": 1},
        {"account": "b", "direction": "credit", "amount": 1},
    ]
}
ACCEPTED = {
    "idempotency_key": "k",
    "state": "accepted",
    "retry": "unnecessary",
    "accepted_at": "2026-11-30T12:00:00Z",
    "resource": f"/v1/ledgers/l/transactions/{MADE['id']}",
    "request_fingerprint": fingerprint("/v1/ledgers/l/transactions", BODY),
    "correlation_id": "c",
    "position": 7,
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


COMPLETED = {**ACCEPTED, "state": "completed"}
OF_ANOTHER = {**COMPLETED, "request_fingerprint": "of another request"}
REUSED = problem(422, "idempotency_key_reused")


@pytest.mark.parametrize("status", [400, 404, 413, 415, 422])
def test_a_refusal_after_a_lost_answer_is_not_the_last_word(status: int) -> None:
    """Two releases may judge the shape differently, and it is judged before the key."""
    told = [httpx2.Response(200, json=COMPLETED), httpx2.Response(200, json=MADE)]
    outcome, script = play(post, LOST, problem(status, "some_code"), *told)
    assert isinstance(outcome, Done) and outcome.is_replayed
    assert script.asked[2:] == ["GET operations/k", f"GET transactions/{MADE['id']}"]


def test_the_operation_of_another_request_is_not_its_own() -> None:
    error, script = play(post, LOST, REUSED, httpx2.Response(200, json=OF_ANOTHER), REUSED)
    assert isinstance(error, IdempotencyKeyReused) and script.asked[2:] == [
        "GET operations/k",
        "POST transactions",
    ]


def test_what_is_accepted_is_asked_for_until_it_is_decided() -> None:
    """Whatever comes between: an outage, a page of a proxy, a service that has just been restored."""
    between: list[httpx2.Response | Exception] = [
        LOST,
        PAGE,
        httpx2.Response(404, text="<html>"),
        problem(500, "internal_error"),
    ]
    waiting, ended = httpx2.Response(200, json=ACCEPTED), httpx2.Response(200, json=COMPLETED)
    steps = [httpx2.Response(202, json=ACCEPTED), waiting, *between, waiting, ended, LOST, ended]
    outcome, _ = play(post, *steps, httpx2.Response(200, json=MADE))
    assert isinstance(outcome, Done)


def test_an_acceptance_whose_end_may_not_be_read_is_no_refusal() -> None:
    error, _ = play(post, httpx2.Response(202, json=ACCEPTED), problem(403, "forbidden"))
    assert isinstance(error, OutcomeUnknown) and error.key == "k"


@pytest.mark.parametrize("status", [302, 404, 409, 413])
def test_a_page_of_a_proxy_is_no_answer_of_the_ledger(status: int) -> None:
    page = httpx2.Response(status, text="<html>", headers={"Location": "/elsewhere"})
    outcome, script = play(post, page, UNKNOWN, DONE)
    assert isinstance(outcome, Done)
    assert script.asked == ["POST transactions", "GET operations/k", "POST transactions"]


@pytest.mark.parametrize("seconds", ["1000000000", "9" * 5_000])
def test_a_service_that_asks_for_too_much_time_is_asked_again_before_the_end(seconds: str) -> None:
    busy = problem(503, "overloaded", **{"Retry-After": seconds})
    outcome, script = play(post, busy, UNKNOWN, busy, UNKNOWN, busy, UNKNOWN, DONE)
    assert isinstance(outcome, Done) and len(script.asked) == 7


@pytest.mark.parametrize(
    "key", ["", "a/b", "a b", "ä", "k\r\nX: y", ".", "..", '"quoted"', "k" * 256, None, 7]
)
def test_what_is_no_key_is_not_sent(key: Any) -> None:
    async def call(ledger: Ledger) -> Any:
        return await ledger.post(debit("a", 1), credit("b", 1), key=key)

    error, script = play(call, DONE)
    assert isinstance(error, IdempotencyKeyInvalid) and script.asked == []


@pytest.mark.parametrize("text", ["", ".", ".."])
def test_dots_lead_nowhere(text: str) -> None:
    """They would lead to another resource, whose answer might pass for the one that was asked for."""
    for call in (
        lambda ledger: ledger.accounts.get(text),
        lambda ledger: ledger.accounts.freeze(text),
        lambda ledger: ledger.transaction(text),
        lambda ledger: ledger.settle(text, key="k"),
        lambda ledger: ledger.payouts.complete(text, "why"),
    ):
        error, script = play(call, DONE)
        assert isinstance(error, Missing) and script.asked == []


def test_slashes_and_any_other_text_stay_in_their_segment() -> None:
    async def call(ledger: Ledger) -> Any:
        return await ledger.accounts.get("../a b/é?x#y%")

    _, script = play(call, UNKNOWN)
    path = script.requests[0].url.raw_path
    assert path == b"/v1/ledgers/l/accounts/..%2Fa%20b%2F%C3%A9%3Fx%23y%25"


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "", "//host"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no URL"):
        Tallystick(url, "tk_key")


@pytest.mark.parametrize("api_key", ["", "tk_é", "tk_a\n", " tk_a"])
def test_what_is_no_api_key_is_refused(api_key: str) -> None:
    with pytest.raises(ValueError, match="an API key is"):
        Tallystick("http://ledger", api_key)


def test_the_key_is_in_every_exception_and_in_the_log_first(caplog: pytest.LogCaptureFixture) -> None:
    async def in_dollars(ledger: Ledger) -> Any:
        price = Money(1, "USD/2")
        return await ledger.post(debit("a", price), credit("b", price), key="k")

    async def together(ledger: Ledger) -> Any:
        async with ledger.coalescing() as postings:
            return await postings.post(debit("a", 1), credit("b", 1), key="k")

    caplog.set_level(logging.INFO, "tallystick_client")
    for call in (post, together, in_dollars):
        for step in (NOT_SENT, problem(403, "forbidden"), problem(422, "invalid_request"), RuntimeError("?")):
            caplog.clear()
            error, _ = play(call, step)
            assert isinstance(error, TallystickError) and error.key == "k", (call, step)
            assert "under the key k" in caplog.messages[0]


def test_a_call_that_is_cancelled_is_cancelled_and_leaves_its_key(caplog: pytest.LogCaptureFixture) -> None:
    class Silent(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            await asyncio.sleep(60)
            raise AssertionError

    async def run() -> None:
        async with Tallystick("http://ledger", "tk_key", transport=Silent()) as tally:
            ledger = tally.ledger("l")
            async with ledger.coalescing() as together:
                for postings in (ledger, together):
                    call = asyncio.ensure_future(postings.post(debit("a", 1), credit("b", 1), key="k"))
                    await asyncio.sleep(0.01)
                    call.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await call
                    assert "ask for the outcome of the key k" in caplog.text
                    caplog.clear()
                batch = asyncio.ensure_future(ledger.batch([Post((debit("a", 1), credit("b", 1)))]))
                await asyncio.sleep(0.01)
                batch.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await batch
                leaving = asyncio.ensure_future(together.__aexit__(None, None, None))
                await asyncio.sleep(0.01)
                leaving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await leaving
                for job in together._jobs:
                    job._task.cancel()

    asyncio.run(run())


def test_a_client_that_is_closed_says_so() -> None:
    async def run() -> None:
        async with Tallystick("http://ledger", "tk_key", transport=Script([DONE])) as tally:
            ledger = tally.ledger("l")
            async with ledger.coalescing() as together:
                pass
        for postings in (ledger, together):
            with pytest.raises(Unusable) as closed:
                await postings.post(debit("a", 1), credit("b", 1), key="k")
            assert closed.value.key == "k"
        with pytest.raises(Unusable):
            await ledger.accounts.get("a")
        with pytest.raises(Unusable):
            await ledger.batch([Post((debit("a", 1), credit("b", 1)))])

    asyncio.run(run())


def test_a_client_of_another_event_loop_says_so() -> None:
    tally = Tallystick("http://ledger", "tk_key", transport=Script([DONE]))
    assert isinstance(asyncio.run(post(tally.ledger("l"))), Done)
    with pytest.raises(Unusable, match="event loop"):
        asyncio.run(post(tally.ledger("l")))


FORKED = """
import os
from api.client import Unusable, credit, debit
from api.client.synchronous import Tallystick
ledger = Tallystick("http://127.0.0.1:9", "tk_key").ledger("l")
if child := os.fork():
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
try:
    ledger.post(debit("a", 1), credit("b", 1), key="k")
except Unusable as error:
    os._exit(0 if error.key == "k" else 1)
os._exit(2)
"""


def test_a_client_that_was_made_before_a_fork_says_so() -> None:
    """Two processes on one connection would take each other's answers."""
    assert subprocess.run([sys.executable, "-c", FORKED], cwd=ROOT, timeout=30).returncode == 0


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


def restored(head: int) -> httpx2.Response:
    body = {"code": "projection_behind", "detail": "", "status": 503, "position": head, "head": head}
    return httpx2.Response(503, json=body, headers={"Ledger-Position": str(head)})


def empty_page(head: int) -> httpx2.Response:
    return httpx2.Response(200, json={"data": [], "next_cursor": None}, headers={"Ledger-Head": str(head)})


def test_a_service_that_was_restored_to_an_older_state_is_said_at_once() -> None:
    async def write_and_read(ledger: Ledger) -> Any:
        await post(ledger)
        with pytest.raises(HistoryLost) as lost:
            _ = [shown async for shown in ledger.transactions()]
        assert (lost.value.position, lost.value.head) == (7, 5)
        ledger.forget_position()
        return [shown async for shown in ledger.transactions()]

    shown, script = play(write_and_read, DONE, restored(5), empty_page(5), empty_page(5))
    assert shown == [] and script.asked == ["POST transactions", *["GET transactions"] * 3]
    assert ["min_position" in request.url.params for request in script.requests[1:]] == [True, False, False]


def test_a_process_that_is_behind_has_lost_nothing() -> None:
    async def write_and_read(ledger: Ledger) -> Any:
        await post(ledger)
        return [shown async for shown in ledger.transactions()]

    shown, script = play(write_and_read, DONE, restored(5), empty_page(7), restored(5), empty_page(7))
    assert shown == [] and len(script.asked) == 5


def test_who_follows_events_is_told_of_a_restore_too() -> None:
    """The new events at the old positions would never be shown."""

    async def follow(ledger: Ledger) -> Any:
        return [event async for event in ledger.events(9, follow=True)]

    error, _ = play(follow, LOST, PAGE, empty_page(5))
    assert isinstance(error, HistoryLost)


def test_who_follows_a_few_events_does_not_search_the_others_again() -> None:
    async def follow(ledger: Ledger) -> Any:
        return await anext(ledger.events(9, follow=True, type="account.opened"))

    def page(reached: int, *events: Any) -> httpx2.Response:
        body = {"data": events, "next_cursor": None}
        return httpx2.Response(200, json=body, headers={"Ledger-Position": str(reached)})

    event = {"position": 30, "stream": "s", "version": 1, "type": "account.opened", "leaf_hash": ""}
    shown, script = play(follow, page(12), page(20), page(30, event))
    assert shown.position == 30
    assert [request.url.params["after"] for request in script.requests] == ["9", "12", "20"]


def test_a_position_that_is_none_is_not_remembered() -> None:
    async def positions(ledger: Ledger) -> Any:
        await post(ledger)
        return ledger.position

    for said in ("1e9", "7, 8", "-1", "9" * 30, ""):
        wrong = httpx2.Response(201, json=MADE, headers={"Ledger-Position": said})
        assert play(positions, wrong)[0] == 0


def test_lists_are_read_from_the_newest_position_that_was_told() -> None:
    async def write_and_read(ledger: Ledger) -> Any:
        await post(ledger)
        return [shown async for shown in ledger.transactions(status="posted")]

    pages = [
        httpx2.Response(200, json={"data": [MADE], "next_cursor": "c"}, headers={"Ledger-Position": "9"}),
        httpx2.Response(200, json={"data": [MADE], "next_cursor": None}, headers={"Ledger-Position": "8"}),
    ]
    shown, script = play(write_and_read, DONE, *pages)
    assert [transaction.id for transaction in shown] == [MADE["id"]] * 2
    asked = [dict(request.url.params) for request in script.requests[1:]]
    first = {"status": "posted", "min_position": "7", "page_size": "100"}
    assert asked == [first, {**first, "cursor": "c"}]
