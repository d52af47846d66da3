"""The details of refusals, for lists that show them, looked up in the journal.

Rows of projections keep the code and the sentence of a refusal. Its other members are in the event that recorded it,
which never changes and is found by its position. So nothing is stored twice, and no projection has to be rebuilt to
show them.
"""

from collections.abc import Iterable
from typing import TypeVar

from psycopg import Cursor
from psycopg.rows import TupleRow

from domain.journal.encoding import UnreadableEvent, decode
from domain.journal.queries import load
from domain.model.payouts.payout import Payout, PayoutRejected
from domain.model.transactions import Transaction, TransactionRejected

Made = TypeVar("Made", Transaction, Payout)

_SQL = load(__name__)


def with_details(cursor: Cursor[TupleRow], made: Iterable[Made]) -> list[Made]:
    """Return the transactions or payouts, with the details added to each rejection.

    A rejection that a newer release recorded in an unknown form is returned without details.
    """
    listed = list(made)
    rejected = {each.made_position: at for at, each in enumerate(listed) if each.rejection is not None}
    if not rejected:
        return listed
    for stream, version, topic, state, position in _SQL["at_positions"].rows(
        cursor, {"positions": list(rejected)}
    ):
        try:
            event = decode(stream, version, topic, bytes(state), position).event
        except UnreadableEvent:
            continue
        each = listed[rejected[position]]
        if isinstance(event, TransactionRejected | PayoutRejected) and each.rejection is not None:
            rejection = each.rejection._replace(details=event.details)
            listed[rejected[position]] = each._replace(rejection=rejection)
    return listed
