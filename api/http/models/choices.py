"""Closed sets of words that several resources share. The document has each once, under the name given here.

A set that only one resource uses has its name beside that resource's schemas.
"""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypeAliasType

from domain.model import money, transactions
from domain.model.payouts import payout
from projections.diagnosis import remedies
from projections.diagnosis.glossary import meanings
from projections.read_models import entries

Direction = TypeAliasType("Direction", money.Direction)
Clock = TypeAliasType("Clock", entries.Clock)
Order = TypeAliasType("Order", Literal["asc", "desc"])
TransactionKind = TypeAliasType("TransactionKind", transactions.Kind)
TransactionStatus = TypeAliasType(
    "TransactionStatus", Annotated[transactions.Status, Field(description=meanings("transaction"))]
)
PayoutState = TypeAliasType(
    "PayoutState", Annotated[payout.PayoutState, Field(description=meanings("payout"))]
)
Remedy = TypeAliasType("Remedy", remedies.Remedy)
ProjectionState = TypeAliasType(
    "ProjectionState",
    Annotated[
        Literal["running", "paused", "halted", "rebuilding"], Field(description=meanings("projection"))
    ],
)
