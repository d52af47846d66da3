"""Calls of a provider as spans of the payouts' traces."""

from collections.abc import Callable, Mapping
from typing import Any

from domain.model.payouts.reports import Report
from domain.tracing import CALL, CORRELATION_ID, OUTCOME, PROVIDER, Kind, Tracer, is_sampled
from projections.process_managers.providers.interface import Callback, Order, Provider


class TracedProvider:
    """A provider that tells a tracer of its calls. The provider is sent the context of the call's own span."""

    def __init__(self, name: str, provider: Provider, tracer: Tracer) -> None:
        """`name` is the provider's name in the settings."""
        self._name = name
        self._provider = provider
        self._tracer = tracer

    @property
    def max_calls(self) -> int:
        """How many calls may run at once."""
        return self._provider.max_calls

    @property
    def patience_seconds(self) -> float:
        """Longer than any call can take."""
        return self._provider.patience_seconds

    def submit(self, order: Order) -> Report:
        """Submit an order to be paid out. Raises what the provider raises."""
        return self._call("submission", self._provider.submit, order)

    def ask(self, order: Order) -> Report:
        """Return what became of an order. Raises what the provider raises."""
        return self._call("inquiry", self._provider.ask, order)

    def read_callback(self, payload: Mapping[str, Any]) -> Callback:
        """Return what a callback says. Raises `ValueError` if it says nothing."""
        return self._provider.read_callback(payload)

    def close(self) -> None:
        """Close its connections."""
        self._provider.close()

    def _call(self, purpose: str, call: Callable[[Order], Report], order: Order) -> Report:
        attributes = {PROVIDER: self._name, CALL: purpose, CORRELATION_ID: order.correlation_id}
        name = f"payout {purpose}"
        span = None
        if is_sampled(order.traceparent):
            span = self._tracer.begin(Kind.CLIENT, name, order.traceparent, attributes)
        if span is None:
            return call(order)
        try:
            report = call(order._replace(traceparent=span.traceparent))
        except Exception as error:
            span.end(error=type(error).__name__)
            raise
        span.end({OUTCOME: report.verdict})
        return report
