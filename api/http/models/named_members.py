"""Problems, and what refusals are about: members of problems, and of the `rejection` of a rejected transaction.

The code decides which members a problem has; `/problems/{code}` shows an example. A member whose value is not
known is left out. So is an amount outside ±(2^53−1), which only the difference of two valid amounts can be.
"""

from typing import Annotated, Literal, NotRequired

from pydantic import Field, WithJsonSchema
from typing_extensions import TypeAliasType, TypedDict

from api.http.models.choices import (
    Direction,
    PayoutState,
    ProjectionState,
    TransactionKind,
    TransactionStatus,
)
from api.http.models.formats import Id, Instant, Path
from api.problems import MAX_ERRORS, PROBLEM_TYPES

_Digits = Annotated[str, Field(pattern=r"^[0-9]+$")]

ProblemCode = TypeAliasType(
    "ProblemCode", Annotated[str, WithJsonSchema({"type": "string", "enum": list(PROBLEM_TYPES)})]
)


class ImbalanceBody(TypedDict):
    """An asset whose debits and credits differ. Sums in minor units, as strings of digits."""

    asset: str
    debits: _Digits
    credits: _Digits


class PendingSumsBody(TypedDict):
    """The pending amounts of an account, in minor units."""

    debits: int
    credits: int


class Named(TypedDict, total=False):
    """The members that say what a refusal is about."""

    pointer: Annotated[
        str,
        Field(
            description="The place in the request, or in the item of a batch, as a JSON pointer. `/entries/N` is an"
            " entry of the transaction. If the request has no entries of its own, it counts the entries that the"
            " rejected transaction shows. An account is judged by its sums over the whole transaction: the pointer"
            " names its first entry on the side that breaks the rule. If several accounts break rules, the account"
            " whose entry comes first is named.",
            examples=["/entries/0"],
        ),
    ]
    account: Annotated[str, Field(description="The address of the account.")]
    asset: Annotated[str, Field(description="The asset of the account. All amounts are in its minor units.")]
    available: Annotated[
        int,
        Field(description="The account's available amount: its balance minus what is pending against it."),
    ]
    min_balance: Annotated[int, Field(description="The limit below which `available` may not fall.")]
    balance: Annotated[int, Field(description="The balance of the account.")]
    pending_inflow: Annotated[int, Field(description="The pending amount that would raise the balance.")]
    max_balance: Annotated[
        int, Field(description="The limit above which balance + pending_inflow may not rise.")
    ]
    direction: Annotated[Direction, Field(description="The side whose total would leave its range.")]
    total: Annotated[int, Field(description="The account's debits or credits, posted and pending.")]
    max_total: Annotated[int, Field(description="The largest total allowed: 2^53−1.")]
    requested: Annotated[
        int,
        Field(
            description="The amount that the transaction asks of the account: the net of its entries, or for a hold"
            " everything on the side concerned. For settle and reverse: the amount asked for."
        ),
    ]
    shortfall: Annotated[int, Field(description="requested − (available − min_balance)")]
    excess: Annotated[
        int,
        Field(
            description="balance + pending_inflow + requested − max_balance; or total + requested − max_total"
        ),
    ]
    held: Annotated[int, Field(description="The amount that the hold holds on this account and side.")]
    reversible: Annotated[int, Field(description="The amount that is left to reverse.")]
    imbalances: Annotated[
        list[ImbalanceBody], Field(description="The assets in which debits and credits differ.")
    ]
    pending: Annotated[PendingSumsBody, Field(description="The account's pending amounts.")]
    differs: Annotated[
        list[str], Field(description="The attributes in which the existing account differs from the request.")
    ]
    registered_asset: Annotated[
        str, Field(description="The asset, with its scale, under which the ledger uses this code.")
    ]
    version: Annotated[int, Field(description="The current version of the account.")]
    hold_id: Annotated[Id, Field(description="The transaction that the request wanted to settle or void.")]
    hold_status: Annotated[TransactionStatus, Field(description="The status of that transaction.")]
    ended_by: Annotated[Id, Field(description="The transaction that settled or voided the hold.")]
    expires_at: Annotated[Instant, Field(description="When the hold expired, or would have expired.")]
    original_id: Annotated[Id, Field(description="The transaction that the request wanted to reverse.")]
    original_kind: Annotated[TransactionKind, Field(description="The kind of that transaction.")]
    original_status: Annotated[TransactionStatus, Field(description="The status of that transaction.")]
    payout_id: Annotated[str, Field(description="The id of the payout.")]
    payout_state: Annotated[PayoutState, Field(description="The state of the payout.")]


class Missing(TypedDict, total=False):
    """The name or id of a resource that does not exist, or that cannot be made because it exists."""

    ledger: Annotated[str, Field(description="The name of the ledger.")]
    idempotency_key: Annotated[str, Field(description="The key that is not known in this ledger.")]
    projection: Annotated[str, Field(description="The name of the projection.")]
    dead_letter_id: Annotated[str, Field(description="The id of the dead letter.")]
    webhook_id: Annotated[str, Field(description="The id of the webhook.")]
    delivery_id: Annotated[str, Field(description="The id of the delivery.")]


class FaultBody(TypedDict):
    """What is wrong with a request, and where."""

    pointer: Annotated[
        str,
        Field(description="A JSON pointer into the body, `?name` for a parameter, or the name of a header."),
    ]
    detail: str


class Problem(Named, Missing):
    """A problem (RFC 9457). Some codes have further members: see the example of each code, and `/problems/{code}`,
    which also says what becomes of the idempotency key and what to do.
    """

    type: Path
    title: str
    status: int
    detail: str
    instance: Path
    code: ProblemCode
    correlation_id: str
    errors: NotRequired[
        Annotated[list[FaultBody], Field(max_length=MAX_ERRORS, description="With 422: where each error is.")]
    ]
    transaction_id: NotRequired[
        Annotated[
            str,
            Field(
                description="With 409 on a keyed request: the id of the recorded, rejected transaction. With"
                " `transaction_not_found`: the id that was not found."
            ),
        ]
    ]
    index: NotRequired[
        Annotated[
            int,
            Field(
                description="In a batch: which item the problem is about, counted from 0. With `batch_rejected`: the"
                " first item that failed."
            ),
        ]
    ]
    problem: NotRequired[
        Annotated["Problem", Field(description="With `batch_rejected`: the problem of that item.")]
    ]
    reason: NotRequired[Annotated[str, Field(description="With `journal_unavailable`: why.")]]
    position: NotRequired[
        Annotated[
            int,
            Field(
                description="With `projection_behind`: the projection's position. With what a replica denies: the"
                " position that its copy reflects."
            ),
        ]
    ]
    head: NotRequired[
        Annotated[int, Field(description="With `projection_behind`: the journal's newest position.")]
    ]
    state: NotRequired[
        Annotated[ProjectionState, Field(description="With `projection_behind`: the projection's state.")]
    ]
    dead_letter: NotRequired[
        Annotated[
            str,
            Field(
                description="With `projection_behind`: the dead letter that holds back what was asked for."
            ),
        ]
    ]
    retry: NotRequired[
        Annotated[Literal["safe"], Field(description="With `operation_unknown` and `primary_unanswered`.")]
    ]
    operation: NotRequired[
        Annotated[
            Path,
            Field(
                description="With `primary_unanswered`: the path that tells what became of a keyed request."
            ),
        ]
    ]
    primary: NotRequired[
        Annotated[
            str, Field(description="With `read_only_replica`: the address of the service that answers.")
        ]
    ]
