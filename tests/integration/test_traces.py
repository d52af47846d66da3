"""Traces as a collector receives them from the processes of a whole service: which spans, with which parents."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch
from uuid import uuid4

import httpx2
import pytest

from tests.collector import Collected, Collector, collecting
from tests.nats_server import serving_nats
from tests.projecting import eventually
from tests.receiver import Received, Receiver, receiving
from tests.service import KEY, ROOT, Service, post_account, post_ledger, serving, transfer_body
from tests.simulating import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

CALLER_SPAN = "00f067aa0ba902b7"
QUICKLY = {"OTEL_BSP_SCHEDULE_DELAY": "50"}


class Traced(NamedTuple):
    """A service that sends spans, what receives them, and what receives its webhooks."""

    service: Service
    collector: Collector
    receiver: Receiver
    client: httpx2.Client

    def received(self, trace_id: str) -> Sequence[Received]:
        """The webhooks received for events of a trace."""
        return [of for of in self.receiver.received if of.headers["traceparent"].split("-")[1] == trace_id]


def new_trace() -> str:
    return uuid4().hex


def in_trace(trace_id: str, flags: str = "01") -> dict[str, str]:
    """The headers of a request in the trace of a caller, and a new key."""
    return {"traceparent": f"00-{trace_id}-{CALLER_SPAN}-{flags}", "Idempotency-Key": uuid4().hex}


@pytest.fixture(scope="module")
def traced(module_path: Path) -> Iterator[Traced]:
    with ExitStack() as stack:
        collector, receiver = stack.enter_context(collecting()), stack.enter_context(receiving())
        broker = stack.enter_context(serving_nats(module_path / "nats"))
        surroundings = {
            **QUICKLY,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_SERVICE_NAME": "books",
            # Only what a caller wants followed, so that nothing else comes between.
            "OTEL_TRACES_SAMPLER": "parentbased_always_off",
            "TALLYSTICK_WEBHOOK_ALLOW_PRIVATE": "true",
            "TALLYSTICK_WEBHOOK_ALLOW_HTTP": "true",
            "TALLYSTICK_NATS_URL": broker.url,
        }
        with patch.dict(os.environ, surroundings):
            service = stack.enter_context(serving(module_path / "data"))
        client = stack.enter_context(service.client())
        post_ledger(client)
        post_account(client, "users:alice:wallet")
        hook = {"url": receiver.url, "ledgers": ["main"], "types": ["*"]}
        assert client.post("/v1/webhooks", json=hook).status_code == 201
        yield Traced(service, collector, receiver, client)


def pay_out(client: httpx2.Client, headers: Mapping[str, str]) -> httpx2.Response:
    """Request a payout, see it completed, and return the first answer."""
    body = {
        "account": "users:alice:wallet",
        "amount": 5,
        "provider": "simulator",
        "destination": {"iban": "X"},
    }
    asked = client.post("/v1/ledgers/main/payouts", json=body, headers=headers)
    assert asked.status_code == 202, asked.text
    eventually(lambda: client.get(asked.headers["location"]).json()["state"] == "completed")
    return asked


def the(spans: Sequence[Collected], name: str, **attributes: Any) -> Collected:
    """The one span with a name and attributes, whose names end so."""
    (found,) = named(spans, name, **attributes)
    return found


def named(spans: Sequence[Collected], name: str, **attributes: Any) -> Sequence[Collected]:
    return [
        span
        for span in spans
        if span.name == name
        and all(
            any(key.endswith(f".{end}") and value == wanted for key, value in span.attributes.items())
            for end, wanted in attributes.items()
        )
    ]


def test_one_trace_goes_from_the_request_to_the_callback(traced: Traced) -> None:
    trace_id = new_trace()
    answer = pay_out(traced.client, in_trace(trace_id))

    def are_all(spans: Sequence[Collected]) -> bool:
        """Whether each event was delivered and published, the callback has come, and no parent is missing."""
        asked = {"correlation_id": answer.headers["correlation-id"]}
        events = traced.client.get("/v1/ledgers/main/events", params=asked).json()["data"]
        of_events = [len(named(spans, name)) for name in ("POST webhook", "publish tallystick")]
        names = {span.name for span in spans}
        known = {CALLER_SPAN, *(span.span_id for span in spans)}
        return (
            of_events == [len(events)] * 2
            and names >= {"payout submission", "project payouts"}
            and bool(named(spans, "POST /v1/providers/{provider}/callbacks", status_code=204))
            and {span.parent_id for span in spans} <= known
        )

    spans = traced.collector.await_spans(trace_id, are_all)
    request = the(spans, "POST /v1/ledgers/{ledger}/payouts")
    assert (request.process, request.kind, request.parent_id) == ("api", "SERVER", CALLER_SPAN)
    assert request.attributes["http.response.status_code"] == 202
    assert request.attributes["tallystick.ledger"] == "main"
    assert request.attributes["tallystick.actor"] == "bootstrap"
    assert request.attributes["tallystick.correlation_id"] == answer.headers["correlation-id"]
    assert answer.headers["traceparent"] == request.traceparent

    commit = the(spans, "commit RequestPayout")
    assert (commit.process, commit.parent_id) == ("api", request.span_id)
    assert commit.attributes["tallystick.position"] == int(answer.headers["ledger-position"])
    assert request.began <= commit.began <= commit.ended <= request.ended
    (batch,) = [span for span in named(spans, "commit batch") if span.parent_id == commit.span_id]
    assert commit.began <= batch.began <= batch.ended <= request.ended

    position = int(answer.headers["ledger-position"])
    projected = the(spans, "project payouts", position=position)
    assert (projected.process, projected.parent_id) == ("projector", request.span_id)
    assert projected.ended > commit.began

    delivery = next(
        span for span in named(spans, "POST webhook") if span.attributes["tallystick.position"] == position
    )
    assert (delivery.process, delivery.kind, delivery.parent_id) == ("publisher", "CLIENT", request.span_id)
    assert delivery.attributes["http.response.status_code"] == 204
    (message,) = [of for of in traced.received(trace_id) if of.position == position]
    assert message.headers["traceparent"] == delivery.traceparent
    assert message.event().get_extension("traceparent") == request.traceparent

    publication = the(spans, "publish tallystick", position=position)
    assert (publication.kind, publication.parent_id) == ("PRODUCER", request.span_id)

    submission = the(spans, "payout submission")
    assert (submission.process, submission.kind) == ("api", "CLIENT")
    assert submission.parent_id == request.span_id
    assert submission.attributes["tallystick.provider"] == "simulator"

    callbacks = named(spans, "POST /v1/providers/{provider}/callbacks", status_code=204)
    assert {(span.kind, span.parent_id) for span in callbacks} == {("SERVER", submission.span_id)}
    assert {span.attributes["tallystick.actor"] for span in callbacks} == {"provider:simulator"}
    reports = [span.parent_id for span in named(spans, "commit RecordReport")]
    assert set(reports) == {request.span_id, *(span.span_id for span in callbacks)}

    assert {span.service for span in spans} == {"books"}
    assert traced.collector.paths == {"/v1/traces"}


def test_a_trace_that_is_not_sampled_leaves_no_span(traced: Traced) -> None:
    unsampled, sampled = new_trace(), new_trace()
    answer = pay_out(traced.client, in_trace(unsampled, "00"))
    assert answer.headers["traceparent"] == f"00-{unsampled}-{CALLER_SPAN}-00"
    assert traced.client.get("/v1/ledgers").headers["traceparent"].endswith("-00")
    # Each process sends its spans in order, so those of a later trace come after whatever there was of this one.
    pay_out(traced.client, in_trace(sampled))
    traced.collector.await_spans(
        sampled,
        lambda spans: (
            {"project outbox", "POST webhook", "publish tallystick", "payout submission"}
            <= {span.name for span in spans}
        ),
    )
    eventually(lambda: len(traced.received(unsampled)) > 2)
    assert traced.collector.of_trace(unsampled) == []


def post_transaction(client: httpx2.Client, trace_id: str) -> None:
    body = transfer_body("users:bank", "users:alice:wallet", 1)
    answer = client.post("/v1/ledgers/main/transactions", json=body, headers=in_trace(trace_id))
    assert answer.status_code == 201, answer.text


def test_requests_that_are_committed_together_link_to_their_batch(traced: Traced) -> None:
    post_account(traced.client, "users:bank")
    traces: list[str] = []

    def found() -> Sequence[Collected]:
        return [span for trace_id in traces for span in traced.collector.of_trace(trace_id)]

    def is_one_linked() -> bool:
        posted = [new_trace() for _ in range(8)]
        traces.extend(posted)
        with ThreadPoolExecutor(len(posted)) as threads:
            list(threads.map(post_transaction, [traced.client] * len(posted), posted))
        return any(span.links for span in found())

    eventually(is_one_linked)
    linked = next(span for span in found() if span.links)
    eventually(lambda: any(span.span_id == linked.links[0] for span in found()))
    batch = next(span for span in found() if span.span_id == linked.links[0])
    assert (linked.name, batch.name) == ("commit PostTransaction", "commit batch")
    assert linked.trace_id != batch.trace_id
    assert batch.attributes["tallystick.batch.commands"] > 1


def test_a_request_with_many_commands_has_one_span_for_them(traced: Traced) -> None:
    trace_id = new_trace()
    post_account(traced.client, "users:bank")
    items = [
        {"idempotency_key": uuid4().hex, **transfer_body("users:bank", "users:alice:wallet", 1)}
        for _ in range(3)
    ]
    body = {"mode": "independent", "transactions": items}
    headers = {"traceparent": in_trace(trace_id)["traceparent"]}
    answer = traced.client.post("/v1/ledgers/main/transactions/batch", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    # The projector and the API send their spans each for itself, and either may come first.
    awaited = "commit PostTransaction"
    spans = traced.collector.await_spans(trace_id, lambda spans: bool(named(spans, awaited)))
    commit = the(spans, awaited)
    assert commit.attributes["tallystick.commands"] == 3


def test_refusals_and_faults_are_told_apart(traced: Traced) -> None:
    trace_id = new_trace()
    refused = traced.client.get("/v1/ledgers/nowhere", headers=in_trace(trace_id))
    assert refused.status_code == 404
    stranger = httpx2.get(
        f"{traced.service.url}/v1/ledgers/main", headers=in_trace(trace_id), trust_env=False
    )
    assert stranger.status_code == 401
    spans = traced.collector.await_spans(trace_id, lambda spans: len(spans) == 2)
    by_status = {span.attributes["http.response.status_code"]: span for span in spans}
    assert not any(span.is_error for span in spans)
    assert "tallystick.actor" not in by_status[401].attributes
    assert "tallystick.ledger" not in by_status[401].attributes
    assert not [value for span in spans for value in span.attributes.values() if KEY in str(value)]


def test_a_collector_that_is_down_or_hangs_delays_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    for name, value in {
        **QUICKLY,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "5",
        "OTEL_BSP_MAX_QUEUE_SIZE": "16",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8",
    }.items():
        monkeypatch.setenv(name, value)

    def is_said(service: Service, words: str) -> bool:
        return any(words in line for line in service.output)

    with serving(tmp_path / "data") as service, service.client() as client:
        post_ledger(client)
        eventually(lambda: is_said(service, "collector of traces out of reach"))
        with collecting(port) as collector:
            collector.answers.clear()
            eventually(lambda: client.get("/v1/ledgers").is_success and collector.is_asked.is_set())
            for number in range(100):  # more spans than the queue holds
                post_account(client, f"users:{number}")
            eventually(lambda: is_said(service, "spans are lost"))
            assert service.stop() == 0


CLOSING = """
from time import monotonic
from domain.tracing import Kind
from scripts.serving.span_export import OtlpTracer
tracer = OtlpTracer("projector")
tracer.begin(Kind.INTERNAL, "work", None, {}).end()
began_at_seconds = monotonic()
tracer.close()
print(monotonic() - began_at_seconds)
"""


def test_a_stopping_process_waits_for_a_collector_that_hangs_for_a_moment_alone() -> None:
    """The SDK by itself would wait for half a minute, and a process is killed after some seconds."""
    with collecting() as collector:
        collector.answers.clear()
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_TIMEOUT": "600"}
        ran = subprocess.run(
            [sys.executable, "-c", CLOSING],
            cwd=ROOT,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert ran.returncode == 0, ran.stderr
        assert collector.is_asked.is_set()
        assert float(ran.stdout) < 20  # far beyond the second that it takes
