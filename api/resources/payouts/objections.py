"""What is wrong with the provider of a payout, or with the ledger that a bridge leads to."""

from pydantic import ValidationError

from api.http.call import Call
from api.http.fields import body_errors
from api.problems import Forbidden, InvalidShape
from api.resources.payouts.schemas import BridgeDestination, PayoutRequest
from api.resources.transactions.schemas import TransactionQuery
from domain.model.errors import InvalidRequest, LedgerError
from domain.model.payouts.bridges import BRIDGE, is_bridge_account


async def objection_to(call: Call[TransactionQuery, PayoutRequest]) -> LedgerError | None:
    """Return what is wrong now with the provider of a payout, or None.

    Raises what is wrong with the request itself: `InvalidShape` for a bridge's destination of another shape,
    `InvalidRequest` for one that no bridge may lead to, and `Forbidden` if the key was not granted its ledger.
    """
    if call.body.provider == BRIDGE:
        return await _objection_to_bridge(call)
    if call.body.provider in call.service.providers:
        return None
    return InvalidRequest("/provider", "there is no provider of this name")


async def _objection_to_bridge(call: Call[TransactionQuery, PayoutRequest]) -> LedgerError | None:
    ledger, account = _destination(call.body)
    if ledger == call.ledger:
        raise InvalidRequest("/destination/ledger", "is this ledger itself: post a transaction instead")
    if is_bridge_account(account):
        raise InvalidRequest("/destination/account", "an account that bridges keep cannot be sent to")
    if not call.caller.may_use(ledger):
        raise Forbidden("The key was not granted the ledger of the destination.")
    siblings = call.service.siblings
    try:
        exists = siblings.is_known(ledger) or await call.service.read(siblings.exists, ledger)
    except LedgerError as error:
        return error
    return None if exists else InvalidRequest("/destination/ledger", "there is no ledger of this name")


def _destination(body: PayoutRequest) -> tuple[str, str]:
    try:
        destination = BridgeDestination.model_validate(body.destination)
    except ValidationError as error:
        wrong = body_errors(error, BridgeDestination)
        raise InvalidShape((f"/destination{pointer}", words) for pointer, words in wrong) from None
    return destination.ledger, destination.account
