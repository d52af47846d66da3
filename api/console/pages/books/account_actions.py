"""What can be done with an account: freeze, unfreeze, close, and change its limits and metadata."""

from api.console.actions.action import Action, action
from api.console.actions.fields import ANY_REASON, Field

_LIMIT_HINT = "In minor units of the asset, or none. Empty leaves it as it is."
ROUTE = "/v1/ledgers/{ledger}/accounts/{address}"

action(
    Action(
        "freeze-account",
        "Freeze",
        "Freeze this account?",
        "It then refuses everything except voids and expiries, until it is unfrozen. Nothing is lost.",
        f"{ROUTE}/freeze",
        fields=(ANY_REASON,),
    )
)
action(
    Action(
        "unfreeze-account",
        "Unfreeze",
        "Unfreeze this account?",
        "It takes postings again.",
        f"{ROUTE}/unfreeze",
        fields=(ANY_REASON,),
    )
)
action(
    Action(
        "close-account",
        "Close for ever",
        "Close this account for ever?",
        "It is never opened again. The ledger refuses this unless the balance is zero and nothing is pending.",
        f"{ROUTE}/close",
        fields=(ANY_REASON,),
        is_grave=True,
    )
)
action(
    Action(
        "change-account",
        "Change limits or metadata",
        "Change this account's limits or metadata?",
        "No transaction may bring the account past its limits from then on. A limit that it already breaks may be set: "
        "then only what makes it worse is refused. The metadata is replaced whole.",
        ROUTE,
        "PATCH",
        f"{ROUTE.removeprefix('/v1')}/change",
        fields=(
            Field("min_balance", "Minimum balance", "limit", hint=_LIMIT_HINT),
            Field("max_balance", "Maximum balance", "limit", hint=_LIMIT_HINT),
            Field("metadata", "Metadata", "json", hint='A JSON object of texts, such as {"customer": "42"}.'),
        ),
    )
)
