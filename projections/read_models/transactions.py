"""The list of transactions, as `domain.model.transactions.Transaction` has them. `transaction_list` reads it.

Rows are folded with the aggregate's own `evolve`, so a transaction reads the same here as in a confirmation read. They
hold only what the list shows: of an entry its account, direction and amount. They hold neither the request's
fingerprint, nor when it was accepted (that event is not read here), nor the details of a refusal (rejections.py).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from msgspec import json
from psycopg import Connection
from psycopg.rows import TupleRow

from domain.model.entries import Entry
from domain.model.events import Recorded
from domain.model.streams import ledger_of
from domain.model.times import instant
from domain.model.transactions import (
    EVENTS,
    Made,
    Rejection,
    Related,
    Transaction,
    TransactionAccepted,
    evolve,
)
from projections.engine.copying import CopiedRow, copy_rows
from projections.engine.projection import Inconsistent, Projection, Queries

LAST_MADE_VERSION = 2
"""The event that makes a transaction is the first of its stream, or the second, after an acceptance."""


def project(connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
    """Add the transactions that events make, and fold the other events into their transactions."""
    made: dict[str, Transaction] = {}
    changes: list[Recorded] = []
    for recorded in events:
        if isinstance(recorded.event, Made):
            made[recorded.stream] = _made(recorded, made)
        elif recorded.stream in made:
            made[recorded.stream] = _changed(made[recorded.stream], recorded)
        else:
            changes.append(recorded)
    if made:
        _add(connection, queries, made.values())
    if changes:
        _change(connection, queries, changes)


def _made(recorded: Recorded, made: Mapping[str, Transaction]) -> Transaction:
    if recorded.version > LAST_MADE_VERSION or recorded.stream in made:
        raise Inconsistent(f"{recorded.stream} was made before event {recorded.position}")
    transaction = evolve(None, recorded)
    assert isinstance(transaction, Transaction)
    return transaction


def _changed(transaction: Transaction | None, recorded: Recorded) -> Transaction:
    if transaction is None or recorded.version != transaction.version + 1:
        raise Inconsistent(f"{recorded.stream} is not at the version before event {recorded.position}")
    changed = evolve(transaction, recorded)
    assert isinstance(changed, Transaction)
    return changed


def _add(connection: Connection[Any], queries: Queries, made: Collection[Transaction]) -> None:
    if postings := [transaction for transaction in made if _is_unchanged_posting(transaction)]:
        copy_rows(connection, queries["add_posting"], map(_row, postings))
    if others := [transaction for transaction in made if not _is_unchanged_posting(transaction)]:
        rows = ((*_row(transaction), *_details_of(transaction)) for transaction in others)
        copy_rows(connection, queries["add"], rows)
    copy_rows(connection, queries["add_accounts"], chain.from_iterable(map(_accounts_of, made)))
    if any(transaction.metadata for transaction in made):
        copy_rows(connection, queries["add_metadata"], chain.from_iterable(map(_metadata_of, made)))


def _is_unchanged_posting(transaction: Transaction) -> bool:
    is_posting = transaction.kind == "posting" and transaction.status == "posted"
    return is_posting and transaction.version == transaction.made_version


def _accounts_of(transaction: Transaction) -> Iterator[CopiedRow]:
    ledger, position = transaction.ledger, str(transaction.made_position)
    return ((ledger, account, position) for account in {entry.account for entry in transaction.entries})


def _metadata_of(transaction: Transaction) -> Iterator[CopiedRow]:
    ledger, position = transaction.ledger, str(transaction.made_position)
    return ((ledger, key, value, position) for key, value in transaction.metadata.items())


def _change(connection: Connection[Any], queries: Queries, changes: Sequence[Recorded]) -> None:
    streams = sorted({recorded.stream for recorded in changes})
    wanted = {"ledgers": [ledger_of(stream) for stream in streams], "streams": streams}
    rows = queries["find"].rows(connection, wanted)
    found = {f"{row[0]}/transactions/{row[1]}": transaction(row) for row in rows}
    for recorded in changes:
        found[recorded.stream] = _changed(found.get(recorded.stream), recorded)
    changed = found.values()
    columns = {
        field: [getattr(transaction, field) for transaction in changed]
        for field in ("ledger", "made_position", "status", "reversed_amount", "version", "position")
    }
    related = {
        "settled_by": [transaction.related.settled_by for transaction in changed],
        "voided_by": [transaction.related.voided_by for transaction in changed],
        "reversed_by": [_array(transaction.related.reversed_by) for transaction in changed],
    }
    queries["change"].run(connection, {**columns, **related}, prepare=False)


def _row(transaction: Transaction) -> CopiedRow:
    """Return what every transaction has."""
    position = str(transaction.made_position)
    return (
        transaction.ledger,
        transaction.id,
        transaction.kind,
        transaction.status,
        json.encode(
            [(entry.account, entry.direction, entry.amount) for entry in transaction.entries]
        ).decode(),
        transaction.reference,
        transaction.description,
        json.encode(transaction.metadata).decode() if transaction.metadata else "{}",
        transaction.effective_at,
        transaction.recorded_at,
        transaction.idempotency_key,
        transaction.correlation_id,
        transaction.actor,
        str(transaction.made_version),
        position,
        str(transaction.reversed_amount),
        str(transaction.version),
        str(transaction.position),
    )


def _details_of(transaction: Transaction) -> CopiedRow:
    """Return what a posting has only if something has changed it, and others may have."""
    related, rejection = transaction.related, transaction.rejection
    return (
        transaction.expires_at,
        related.settles,
        related.voids,
        related.reverses,
        related.settled_by,
        related.voided_by,
        _array(related.reversed_by),
        rejection.code if rejection else None,
        rejection.detail if rejection else None,
    )


def _array(ids: Sequence[str]) -> str | None:
    return f"{{{','.join(ids)}}}" if ids else None


def transaction(row: TupleRow) -> Transaction:
    """Return the transaction of a row."""
    # fmt: off
    (
        ledger, id, kind, status, entries, reference, description, metadata, effective_at, recorded_at, expires_at,
        idempotency_key, correlation_id, actor, settles, voids, reverses, settled_by, voided_by, reversed_by,
        rejection_code, rejection_detail, made_version, made_position, reversed_amount, version, position,
    ) = row
    # fmt: on
    recorded = instant(recorded_at)
    return Transaction(
        ledger=ledger,
        id=id,
        kind=kind,
        status=status,
        entries=tuple(
            Entry(account=account, direction=direction, amount=amount)
            for account, direction, amount in json.decode(entries)
        ),
        reference=reference,
        description=description,
        metadata=json.decode(metadata),
        effective_at=instant(effective_at),
        recorded_at=recorded,
        expires_at=None if expires_at is None else instant(expires_at),
        idempotency_key=idempotency_key,
        fingerprint="",
        correlation_id=correlation_id,
        actor=actor,
        related=Related(settles, voids, reverses, settled_by, voided_by, tuple(reversed_by or ())),
        rejection=None if rejection_code is None else Rejection(rejection_code, rejection_detail),
        accepted_at=recorded,
        made_version=made_version,
        made_position=made_position,
        reversed_amount=reversed_amount,
        version=version,
        position=position,
    )


PROJECTION = Projection(
    "transactions",
    __name__,
    tuple(event_type for event_type in EVENTS if event_type is not TransactionAccepted),
    ("transactions", "transaction_accounts", "transaction_metadata"),
    project,
    by_stream=True,
)
