"""What refusals name: members of problems, and of the `rejection` of what was rejected.

Which of them a problem has depends on its code; `/problems/{code}` shows an example. What is not known is left out, as
is an amount outside ±(2^53−1), which only a difference of two such amounts can be.
"""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from domain.model.money import Direction
from domain.model.payouts.payout import PayoutState
from domain.model.times import Instant
from domain.model.transactions import Kind, Status

_Digits = Annotated[str, Field(pattern=r"^[0-9]+$")]


class ImbalanceBody(TypedDict):
    """The sums of an asset in which debits and credits differ, in minor units, as strings of digits."""

    asset: str
    debits: _Digits
    credits: _Digits


class PendingBody(TypedDict):
    """What is pending on an account, in minor units."""

    debits: int
    credits: int


class Named(TypedDict, total=False):
    """What a refusal is about."""

    pointer: Annotated[
        str,
        Field(
            description="Where in the request, or in the item of a batch, as a JSON pointer. `/entries/N` is an entry"
            " of the transaction: where the request leaves them to the transaction that it names, as the rejected"
            " transaction shows them. An account is judged by the sums of the whole transaction: named is its first"
            " entry on the side that breaks the rule, and of several accounts the one whose entry comes first.",
            examples=["/entries/0"],
        ),
    ]
    account: Annotated[str, Field(description="The address of the account.")]
    asset: Annotated[str, Field(description="The asset of the account, in whose minor units amounts are.")]
    available: Annotated[
        int, Field(description="What the account has available: its balance less what is pending against it.")
    ]
    min_balance: Annotated[int, Field(description="Below which `available` may not fall.")]
    balance: Annotated[int, Field(description="The balance of the account.")]
    pending_inflow: Annotated[int, Field(description="What is pending in favour of the balance.")]
    max_balance: Annotated[
        int, Field(description="Above which the balance, with what is pending in favour of it, may not rise.")
    ]
    direction: Annotated[Direction, Field(description="Which total of the account would leave its range.")]
    total: Annotated[int, Field(description="The debits or credits of the account, posted and pending.")]
    max_total: Annotated[int, Field(description="The largest total: 2^53−1.")]
    requested: Annotated[
        int,
        Field(
            description="What the transaction asks of the account: the net of its entries, of a hold all that is on"
            " the side concerned; or the amount that was to be settled or reversed."
        ),
    ]
    shortfall: Annotated[int, Field(description="requested − (available − min_balance)")]
    excess: Annotated[
        int,
        Field(
            description="balance + pending_inflow + requested − max_balance; or total + requested − max_total"
        ),
    ]
    held: Annotated[int, Field(description="What the hold holds of the account on the side concerned.")]
    reversible: Annotated[int, Field(description="What is left to reverse.")]
    imbalances: Annotated[
        list[ImbalanceBody], Field(description="The assets in which debits and credits differ.")
    ]
    pending: Annotated[PendingBody, Field(description="What is pending on the account.")]
    differs: Annotated[
        list[str], Field(description="The attributes in which what exists differs from what was asked for.")
    ]
    registered_asset: Annotated[
        str, Field(description="The asset as which the ledger uses the code, with its scale.")
    ]
    version: Annotated[int, Field(description="The version of the account now.")]
    hold_id: Annotated[str, Field(description="The transaction that was to be settled or voided.")]
    hold_status: Annotated[Status, Field(description="Its status.")]
    ended_by: Annotated[str, Field(description="The transaction that settled or voided it.")]
    expires_at: Annotated[Instant, Field(description="When the hold expired, or was to expire.")]
    original_id: Annotated[str, Field(description="The transaction that was to be reversed.")]
    original_kind: Annotated[Kind, Field(description="Its kind.")]
    original_status: Annotated[Status, Field(description="Its status.")]
    payout_id: Annotated[str, Field(description="The payout.")]
    payout_state: Annotated[PayoutState, Field(description="Its state.")]


class Missing(TypedDict, total=False):
    """What is not there, or cannot be made since it is."""

    ledger: Annotated[str, Field(description="The name of the ledger.")]
    idempotency_key: Annotated[str, Field(description="The key of which nothing is known.")]
    projection: Annotated[str, Field(description="The name of the projection.")]
    dead_letter_id: Annotated[str, Field(description="The dead letter.")]
    webhook_id: Annotated[str, Field(description="The webhook.")]
    delivery_id: Annotated[str, Field(description="The delivery.")]
