"""What can be done with a transaction: settle or void a hold, and reverse a posting."""

from api.console.actions.action import Action, action
from api.console.actions.fields import Field

ROUTE = "/v1/ledgers/{ledger}/transactions/{id}"
_AMOUNT = Field(
    "amount",
    "Amount",
    "whole",
    hint="In minor units of the asset: 1050 is 10.50 in USD/2. Only where there are two entries. Empty for all of it.",
)
_REFERENCE = Field("reference", "Reference")
_DESCRIPTION = Field("description", "Description")

action(
    Action(
        "settle-hold",
        "Settle",
        "Settle this hold?",
        "The amounts held are posted, whole or in part, once. The rest is released.",
        f"{ROUTE}/settle",
        fields=(_AMOUNT, _REFERENCE, _DESCRIPTION),
        is_grave=True,
    )
)
action(
    Action(
        "void-hold",
        "Void",
        "Void this hold?",
        "The amounts held are released. Nothing moves, and the hold cannot be settled any more.",
        f"{ROUTE}/void",
        fields=(_REFERENCE, _DESCRIPTION),
        is_grave=True,
    )
)
action(
    Action(
        "reverse-transaction",
        "Reverse",
        "Reverse this transaction?",
        "The mirror image of its entries is posted, whole or in part. A reversal cannot be reversed.",
        f"{ROUTE}/reverse",
        fields=(_AMOUNT, _REFERENCE, _DESCRIPTION),
        is_grave=True,
    )
)
