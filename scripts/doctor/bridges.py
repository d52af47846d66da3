"""The check of bridges: what two ledgers say of each other cancels out, in one installation or in several.

Installations are read one after another, while bridges are under way (projections/audit/bridges.py has the rule).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from time import monotonic
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.sql import SQL

from domain.journal.database import Database
from domain.journal.queries import load
from domain.journal.reader import head_of, read_aggregates
from domain.model.accounts import Account
from domain.model.payouts.bridges import received_id
from domain.model.payouts.payout import Payout
from domain.model.streams import transaction_stream
from domain.model.transactions import Transaction
from domain.placement.ledger_map import held
from projections.audit.bridges import Crossing, Imbalance, Side, imbalances, is_sent_at
from projections.engine.live_version import one_instant
from scripts.doctor.examination import MAX_SUBJECTS, Examined, Patient, examples, read_only
from scripts.doctor.finding import Finding

_SQL = load(__name__)
_ENDS = ("completed", "failed")
BETWEEN = "bridges between installations cancel out"
"""The name of the check of a placement."""


class Books(NamedTuple):
    """What one installation says of bridges: its accounts, and the head that was read with them."""

    sides: Sequence[Side]
    head: int


def agreement(patient: Patient) -> Iterator[Finding]:
    """Compare what the ledgers of this installation say of each other."""
    if found := examined([patient.connection]):
        yield disagreement(found)


def disagreement(found: Sequence[Imbalance]) -> Finding:
    """Return the finding that pairs of ledgers do not agree."""
    words = [f"{one} and {other}: {difference} of {asset}" for (one, other), asset, difference in found]
    subjects = tuple({"sender": one, "receiver": other} for (one, other), _, _ in found[:MAX_SUBJECTS])
    return Finding("bridge_unbalanced", f"{len(found)} sums do not cancel out", examples(words), subjects)


def between(databases: Sequence[Database], timeout_seconds: float) -> Examined:
    """Compare what the ledgers of several installations say of each other. One that is out of reach is left out."""
    began, findings = monotonic(), list[Finding]()
    with ExitStack() as stack:
        connections = []
        for database in databases:
            with suppress(psycopg.OperationalError):
                connections.append(stack.enter_context(read_only(database)))
        for connection in connections:
            connection.execute(SQL("SET statement_timeout = {}").format(int(timeout_seconds * 1000)))
        try:
            found = examined(connections)
        except psycopg.Error as error:
            findings.append(Finding("check_failed", f"“{BETWEEN}”: {type(error).__name__}"))
        else:
            findings += [disagreement(found)] if found else []
    return Examined(BETWEEN, findings, monotonic() - began)


def examined(connections: Sequence[Connection[Any]]) -> list[Imbalance]:
    """Return the pairs of ledgers that do not agree, of those that are both in these installations.

    A ledger that moves meanwhile is left out. The connections must be in no transaction.
    """
    places = _places(connections)
    heads = [head_of(connection) for connection in connections]
    books = [_books(connection) for connection in connections]
    crossings = [
        _crossing(payout, made, books[at].head, books[places[receiver]].head)
        for at, connection in enumerate(connections)
        for receiver, sent in _by_receiver(_under_way(connection, heads[at], books[at].head)).items()
        if receiver in places
        for payout, made in _received(connections[places[receiver]], receiver, sent)
        if places.get(payout.ledger) == at
    ]
    sides = [side for at, of in enumerate(books) for side in of.sides if places.get(side.ledger) == at]
    settled = {ledger for ledger, at in _places(connections).items() if places.get(ledger) == at}
    return [found for found in imbalances(sides, crossings) if settled.issuperset(found.ledgers)]


def _books(connection: Connection[Any]) -> Books:
    with one_instant(connection):
        listed, position = _in_live(connection, "balances", "accounts")
        opened = _SQL["accounts_opened"].rows(connection, {"position": position})
        streams = list(dict.fromkeys(stream for (stream,) in (*listed, *opened)))
        states, head = read_aggregates(connection, streams)
        return Books([_side(state) for state in states if isinstance(state, Account)], head)


def _side(account: Account) -> Side:
    other = account.address.split(":")[1]
    return Side(account.ledger, other, account.asset, account.posted_debits - account.posted_credits)


def _places(connections: Sequence[Connection[Any]]) -> Mapping[str, int]:
    """Return which of the installations holds each ledger."""
    return {name: at for at, connection in enumerate(connections) for name in held(connection)}


def _under_way(connection: Connection[Any], since: int, head: int) -> list[Payout]:
    """Return the bridges that have not ended, or that have changed after a position.

    Those that were stuck at the head are none: nothing more happens to them until an operator resolves them.
    """
    with one_instant(connection):
        unended, position = _in_live(connection, "payouts", "unended")
        changed = _SQL["payouts_changed"].rows(connection, {"position": min(position, since)})
        streams = list(dict.fromkeys(stream for (stream,) in (*unended, *changed)))
        states, _ = read_aggregates(connection, streams)
    payouts = [state for state in states if isinstance(state, Payout)]
    bridges = [payout for payout in payouts if payout.is_bridge and payout.rejection is None]
    return [bridge for bridge in bridges if bridge.state != "stuck" or bridge.position > head]


def _by_receiver(payouts: Iterable[Payout]) -> Mapping[str, list[Payout]]:
    found: defaultdict[str, list[Payout]] = defaultdict(list)
    for payout in payouts:
        found[payout.destination["ledger"]].append(payout)
    return found


def _received(
    connection: Connection[Any], receiver: str, sent: Sequence[Payout]
) -> Iterator[tuple[Payout, Transaction | None]]:
    """Yield each bridge with what its receiver has recorded."""
    ids = [received_id(receiver, payout.provider_key) for payout in sent]
    states, _ = read_aggregates(connection, [transaction_stream(receiver, id) for id in ids])
    yield from zip(sent, states, strict=True)


def _crossing(payout: Payout, made: Transaction | None, sender_head: int, receiver_head: int) -> Crossing:
    ends = [(step.event, step.position) for step in payout.history if step.event in _ENDS]
    return Crossing(
        payout.ledger,
        payout.destination["ledger"],
        payout.asset,
        payout.amount,
        is_received=made is not None and made.rejection is None and made.made_position <= receiver_head,
        is_sent=is_sent_at(ends, sender_head),
    )


def _in_live(connection: Connection[Any], name: str, query: str) -> tuple[list[Any], int]:
    """Return what a query finds in the live tables of a read model, and its position; nothing, and 0, without one."""
    if (live := _SQL["live"].row(connection, {"name": name})) is None:
        return [], 0
    version, position = live
    return _SQL[query].fill(version=version).rows(connection), position
