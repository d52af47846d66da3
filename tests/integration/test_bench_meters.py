"""The benchmark's meters tell whose processor time and disk space it was, on a real PostgreSQL."""

import os

import psutil
import psycopg
import pytest

from domain.journal.database import Database
from projections.registry import PROJECTIONS
from scripts.bench.meters.disk_space import JOURNAL, READ_MODELS, added, bytes_of
from scripts.bench.meters.processor_time import (
    BENCH,
    LEDGER,
    OTHERS,
    WRITER,
    metering,
    used_seconds,
)
from scripts.bench.meters.processor_time import (
    PROJECTIONS as PROJECTIONS_BACKENDS,
)
from scripts.bench.workloads.installation import running
from scripts.bench.workloads.recording import open_accounts
from tests.projecting import eventually

pytestmark = pytest.mark.integration

WORK = "SELECT count(*) FROM generate_series(1, 2000000)"


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("tallystick writer", WRITER),
        ("tallystick reader ahead", WRITER),
        ("tallystick projection entries", PROJECTIONS_BACKENDS),
        ("tallystick sealer", PROJECTIONS_BACKENDS),
        ("tallystick worker", OTHERS),
    ],
)
def test_the_time_of_a_connection_is_of_the_role_that_its_name_says(
    database: Database, name: str, role: str
) -> None:
    with metering(database, os.getpid(), LEDGER) as meter, database.connect(name) as connection:
        before = meter.read()
        connection.execute(WORK)
        used = used_seconds(before, meter.read())
    assert used[role] > 0


def test_the_time_of_a_connection_that_has_ended_counts_and_that_of_the_benchmark_does_not(
    database: Database,
) -> None:
    with metering(database, os.getpid(), LEDGER) as meter:
        with database.connect("tallystick writer") as connection:
            before = meter.read()
            connection.execute(WORK)
            backend = connection.info.backend_pid
        eventually(lambda: not psutil.pid_exists(backend))
        ended = used_seconds(before, meter.read())
        with database.connect(BENCH) as connection:
            before = meter.read()
            connection.execute(WORK)
            of_benchmark = used_seconds(before, meter.read())
    assert WRITER not in ended and ended[OTHERS] > 0
    assert WRITER not in of_benchmark and PROJECTIONS_BACKENDS not in of_benchmark


def test_the_time_of_a_process_is_of_its_role(database: Database) -> None:
    with metering(database, os.getpid(), LEDGER) as meter:
        before = meter.read()
        sum(range(10_000_000))
        assert used_seconds(before, meter.read())[LEDGER] > 0


def test_disk_space_is_of_the_journal_or_of_the_read_models_and_no_byte_is_missed(
    database: Database, owner: psycopg.Connection[tuple[int]]
) -> None:
    before = bytes_of(database)
    of_read_models = {
        table for projection in PROJECTIONS.values() for table in projection.table_names(version=1)
    }
    assert {relation.table for relation in before if relation.part == READ_MODELS} == of_read_models
    assert {"stored_events", "head", "snapshots", "tracking"} <= {
        relation.table for relation in before if relation.part == JOURNAL
    }
    with running(database) as ledger:
        open_accounts(ledger, 50)
    after = bytes_of(database)
    for table in ("stored_events", "transactions_v1"):
        (size,) = owner.execute("SELECT pg_total_relation_size(%s)", (table,)).fetchone() or (0,)
        assert sum(found for relation, found in after.items() if relation.table == table) == size
    space = added(before, after, 50)
    assert sum(space.bytes.values()) > 0
    assert all(grown == 0 for relation, grown in space.bytes.items() if relation.part == READ_MODELS)
