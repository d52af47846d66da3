"""The yardstick for the eventsourcing library as its documentation uses it, with its defaults.

Aggregates with `@event` decorators and UUIDs, the JSON transcoder, PostgreSQL settings unchanged. For each transfer
both accounts are loaded, changed and saved together. One thread, because its `LOCK TABLE` serialises writers anyway.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from time import perf_counter
from uuid import UUID

import psycopg
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from psycopg.sql import SQL, Identifier

from domain.journal.database import Database
from scripts.bench.report.figures import Measurement
from scripts.bench.workloads.installation import schema
from scripts.bench.workloads.recording import AT_ONCE
from scripts.bench.workloads.transfers import AMOUNT, address, random_uuid


class Account(Aggregate):
    """An account, written as in the library's documentation."""

    @event("Opened")
    def __init__(self, address: str) -> None:
        self.address = address
        self.balance = 0

    @event("Debited")
    def debit(self, transaction_id: str, amount: int) -> None:
        """Take an amount from the account."""
        self.balance -= amount

    @event("Credited")
    def credit(self, transaction_id: str, amount: int) -> None:
        """Add an amount to the account."""
        self.balance += amount


class Accounts(Application[UUID]):
    """Transfers between accounts."""

    def open(self, addresses: list[str]) -> list[UUID]:
        """Open accounts and return their ids."""
        accounts = [Account(address) for address in addresses]
        self.save(*accounts)
        return [account.id for account in accounts]

    def transfer(self, transaction_id: str, debited: UUID, credited: UUID) -> None:
        """Move the amount of all transfers from one account to another."""
        payer: Account = self.repository.get(debited)
        payee: Account = self.repository.get(credited)
        payer.debit(transaction_id, AMOUNT)
        payee.credit(transaction_id, AMOUNT)
        self.save(payer, payee)


@contextmanager
def stock_library(url: str, accounts: int) -> Iterator[Callable[[int], Measurement]]:
    """The yardstick, in its own schema. Called with a number of transfers, it makes and times them."""
    with schema(url) as database:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(database.schema)))
        application = Accounts(environment_of(database))
        try:
            yield _transferring(application, accounts)
        finally:
            application.close()


def _transferring(application: Accounts, accounts: int) -> Callable[[int], Measurement]:
    random = Random(2)
    ids: list[UUID] = []
    for first in range(0, accounts, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, accounts))
        ids += application.open([address(number) for number in numbers])

    def run(count: int) -> Measurement:
        wanted = [(random_uuid(random), random.sample(ids, 2)) for _ in range(count)]
        started = perf_counter()
        for transaction_id, (debited, credited) in wanted:
            application.transfer(transaction_id, debited, credited)
        return Measurement(count, perf_counter() - started)

    return run


def environment_of(database: Database) -> dict[str, str]:
    """Return the variables that connect the library to the benchmark's database."""
    with psycopg.connect(database.url) as connection:
        return {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": connection.info.dbname,
            "POSTGRES_HOST": connection.info.host,
            "POSTGRES_PORT": str(connection.info.port),
            "POSTGRES_USER": connection.info.user,
            "POSTGRES_PASSWORD": connection.info.password,
            "POSTGRES_SCHEMA": database.schema,
        }
