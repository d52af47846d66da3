"""Callbacks: what payment providers report by themselves."""

from functools import partial

from pydantic import ValidationError

from api.http.body import CALLBACK_BODY_BYTES
from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import ANYBODY, NoQuery, Returns
from api.http.endpoint import endpoint
from api.http.fields import body_errors
from api.http.responses import Answer
from api.http.spanning.spans import Spans
from api.problems import InvalidShape, PathNotFound
from api.resources.payouts import examples
from api.resources.payouts.callback_schemas import CallbackRequest
from api.security.callback_signatures import MESSAGE_ID
from api.service.service import Service
from domain.model.errors import InvalidRequest, LedgerNotFound, PayoutNotFound
from domain.model.events import Context
from domain.model.payouts.payout import Payout
from domain.model.payouts.reports import RecordReport
from domain.model.payouts.requests import names_in
from domain.model.streams import is_ledger_name
from projections.process_managers.payer import new_nonce
from projections.process_managers.providers.interface import Callback


@endpoint(
    "POST",
    "/v1/providers/{provider}/callbacks",
    summary="Report on a payout, as its provider",
    tag="Payouts",
    consistency=Consistency.LINEARIZABLE,
    roles=ANYBODY,
    returns=[Returns(204, "The report is accepted.")],
    problems=[PathNotFound, PayoutNotFound],
    body_example=examples.CALLBACK_REQUEST,
    max_body_bytes=CALLBACK_BODY_BYTES,
    is_signed=True,
    spans=Spans.BODY,
)
async def receive_callback(call: Call[NoQuery, CallbackRequest]) -> Answer:
    """Take a provider's report about a payout, signed by Standard Webhooks. A message with the same id counts once.

    Late, repeated or reordered reports change nothing twice. A report that contradicts the record makes the payout
    stuck. The answer comes once the report is durable.
    """
    callback = _read(call)
    ledger, payout_id = names_in(callback.key)
    if not is_ledger_name(ledger):
        raise PayoutNotFound
    service = await call.installations.of(ledger)
    record = partial(_record, call, callback, ledger, payout_id)
    await call.installations.asked(ledger, service, record)
    return Answer(204)


async def _record(
    call: Call[NoQuery, CallbackRequest], callback: Callback, ledger: str, payout_id: str, service: Service
) -> None:
    """Record a report in the installation that holds the payout's ledger. Raises `LedgerMoved` if it does not."""
    seen = await _payout(call, service, callback.key, ledger, payout_id)
    context = Context(call.caller.name, seen.correlation_id, _trace(seen, call.context.traceparent))
    message_id = call.headers[MESSAGE_ID].decode("latin-1")
    report = RecordReport(
        context, seen, new_nonce(), source="callback", report=callback.report, message_id=message_id
    )
    await service.writer.perform(report)


def _read(call: Call[NoQuery, CallbackRequest]) -> Callback:
    try:
        return call.service.providers[call.path_params["provider"]].read_callback(call.raw_body)
    except ValidationError as error:
        raise InvalidShape((f"/data{pointer}", words) for pointer, words in body_errors(error)) from None
    except ValueError as error:
        raise InvalidRequest("/data", str(error)) from None


async def _payout(
    call: Call[NoQuery, CallbackRequest], service: Service, provider_key: str, ledger: str, payout_id: str
) -> Payout:
    """Return the payout with a provider's key, as it was accepted, so that its number of callbacks does not matter.

    Raises `PayoutNotFound` if the provider was never given that key.
    """
    try:
        payout, _ = await service.read(service.ledger.payout_as_accepted, ledger, payout_id)
    except (LedgerNotFound, PayoutNotFound):  # the answer is the same, whatever is wrong with the key
        raise PayoutNotFound from None
    if (payout.provider, payout.provider_key) != (call.path_params["provider"], provider_key):
        raise PayoutNotFound
    return payout


def _trace(payout: Payout, given: str | None) -> str | None:
    """Return the callback's trace context if it continues the payout's trace, else the payout's own."""
    if given and payout.traceparent and given.split("-")[1] == payout.traceparent.split("-")[1]:
        return given
    return payout.traceparent
