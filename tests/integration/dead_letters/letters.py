"""What tests of dead letters do: find a letter, read accounts, change one, advance a projection."""

from typing import Any
from uuid import uuid4

from psycopg import Connection

from domain.application import LedgerApplication
from domain.model.accounts import ChangeAccount
from domain.model.events import Context
from domain.model.streams import account_stream
from projections.engine.batches import Claim, advance, read_batch, take_over
from projections.engine.dead_letters import DeadLetter, list_letters
from projections.engine.projection import Projection
from projections.read_models.balances import list_accounts
from projections.registry import PROJECTIONS
from projections.running.positions import progress
from tests.ledgers import CONTEXT
from tests.projecting import set_state

BY = Context("oncall", "conversation-9")
A, B = account_stream("main", "a"), account_stream("main", "b")
TWO = [PROJECTIONS["balances"], PROJECTIONS["entries"]]
UNREADABLE = b'{"class_version":1,"correlation_id":"c-7","actor":"shop","data":{"odd":true}}'


def sole_letter(connection: Connection[Any], **filters: Any) -> DeadLetter:
    (letter,) = list_letters(connection, **filters)
    return letter


def versions(connection: Connection[Any]) -> dict[str, int]:
    return {account.address: account.version for account in list_accounts(connection, "main", limit=99).rows}


def change(ledger: LedgerApplication, address: str, mark: str) -> int:
    return ledger.perform(ChangeAccount(CONTEXT, "main", address, metadata={"mark": mark})).position


def advance_to_head(connection: Connection[Any], projection: Projection) -> None:
    """Advance the live version of a projection while no runner does."""
    claim = Claim(projection, 1, uuid4(), "running")
    take_over(connection, claim)
    set_state(connection, projection.name, "running")
    seen = progress(connection, projection.name)
    batch = read_batch(connection, projection, seen.position, seen.head)
    assert advance(connection, claim, batch, 0.0, None)
