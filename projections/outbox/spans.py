"""Deliveries to webhooks and messages to NATS as spans of the traces of their events.

The message carries the context of its span in the header `traceparent`, and that of the event in its body.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from domain.tracing import (
    CORRELATION_ID,
    EVENT_TYPE,
    HTTP_METHOD,
    HTTP_RESEND_COUNT,
    HTTP_STATUS,
    LEDGER,
    MESSAGING_DESTINATION,
    MESSAGING_MESSAGE_ID,
    MESSAGING_OPERATION_NAME,
    MESSAGING_OPERATION_TYPE,
    MESSAGING_SYSTEM,
    POSITION,
    SERVER_ADDRESS,
    SERVER_PORT,
    WEBHOOK_ID,
    Kind,
    Span,
    Tracer,
    is_sampled,
)
from projections.outbox.messages import Message
from projections.outbox.queue import DueDelivery
from projections.outbox.schedule import AttemptAnswer

Post = Callable[[str, Mapping[str, str], bytes], Awaitable[AttemptAnswer]]

_PORTS = {"http": 80, "https": 443}


async def post_traced(
    tracer: Tracer, post: Post, due: DueDelivery, message: Message, headers: Mapping[str, str]
) -> AttemptAnswer:
    """Make an attempt with `post` and return how it ended. Raises nothing except on cancellation."""
    span = _delivery(tracer, due, message)
    if span is None:
        return await post(due.url, headers, message.body)
    answer = None
    try:
        answer = await post(due.url, {**headers, "traceparent": span.traceparent}, message.body)
    finally:
        if answer is None:
            span.end(error="cancelled")
        else:
            status = answer.status
            error = None if answer.is_acknowledged else str(status or "unanswered")
            span.end({} if status is None else {HTTP_STATUS: status}, error=error)
    return answer


def _delivery(tracer: Tracer, due: DueDelivery, message: Message) -> Span | None:
    traceparent = message.headers.get("traceparent")
    if not is_sampled(traceparent):
        return None
    url = urlsplit(due.url)
    attributes: dict[str, str | int] = {
        HTTP_METHOD: "POST",
        SERVER_ADDRESS: url.hostname or "",
        SERVER_PORT: url.port or _PORTS.get(url.scheme, 0),
        WEBHOOK_ID: str(due.webhook_id),
        **_of_message(message),
    }
    if due.number > 1:
        attributes[HTTP_RESEND_COUNT] = due.number - 1
    return tracer.begin(Kind.CLIENT, "POST webhook", traceparent, attributes)


@contextmanager
def traced_window(
    tracer: Tracer | None, subject: str, messages: Sequence[Message]
) -> Iterator[Sequence[Message]]:
    """Yield messages as they are to be published to NATS. Their spans end when they are acknowledged, or have failed.

    `subject` is the first part of their subjects.
    """
    if tracer is None:
        yield messages
        return
    spans: list[Span] = []
    error: str | None = "cancelled"
    try:
        yield [_in_span(tracer, subject, message, spans) for message in messages]
        error = None
    except Exception as failure:
        error = type(failure).__name__
        raise
    finally:
        for span in spans:
            span.end(error=error)


def _in_span(tracer: Tracer, subject: str, message: Message, spans: list[Span]) -> Message:
    """Return a message with the context of a span that is added to `spans`, or as it is if its trace is not sampled."""
    traceparent = message.headers.get("traceparent")
    if not is_sampled(traceparent):
        return message
    attributes: dict[str, str | int] = {
        MESSAGING_SYSTEM: "nats",
        MESSAGING_OPERATION_NAME: "publish",
        MESSAGING_OPERATION_TYPE: "send",
        MESSAGING_DESTINATION: f"{subject}.{message.ledger}.{message.type}",
        MESSAGING_MESSAGE_ID: message.id,
        **_of_message(message),
    }
    span = tracer.begin(Kind.PRODUCER, f"publish {subject}", traceparent, attributes)
    if span is None:
        return message
    spans.append(span)
    return message._replace(headers={**message.headers, "traceparent": span.traceparent})


def _of_message(message: Message) -> dict[str, str | int]:
    return {
        LEDGER: message.ledger,
        EVENT_TYPE: message.type,
        POSITION: int(message.id.rpartition("/")[2]),
        CORRELATION_ID: message.headers["Correlation-Id"],
    }
