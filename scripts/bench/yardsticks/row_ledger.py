"""The yardstick for a ledger kept in rows: an SQL function that locks two accounts and changes them.

This is how ledgers in PostgreSQL are commonly made, pgledger among them. Each transfer is one call and one commit, and
a transfer waits while another one has its account locked. `pgbench` calls the function without HTTP, the cheapest way
to call it. It has no idempotency keys, limits, holds or projections.
"""

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg import Connection
from psycopg.sql import SQL, Identifier

from domain.journal.database import Database
from domain.journal.queries import load
from scripts.bench.report.figures import BenchFailed, Measurement
from scripts.bench.workloads.installation import schema
from scripts.bench.workloads.transfers import AMOUNT
from scripts.serving.embedded_postgres import binaries

TIMEOUT_SECONDS = 90
HOT = "\\set debited 0\n\\set credited random(1, :accounts - 1)\n"
UNIFORM = "\\set debited random(0, :accounts - 1)\n\\set credited (:debited + random(1, :accounts - 1)) % :accounts\n"
_DONE = re.compile(r"number of transactions actually processed: (\d+)")
_RATE = re.compile(r"^tps = ([\d.]+) \(without", re.MULTILINE)
_LATENCY = re.compile(r"latency average = ([\d.]+) ms")
_SQL = load(__name__)


@contextmanager
def row_ledger(url: str, accounts: int) -> Iterator["RowLedger"]:
    """The yardstick, in its own schema, with this many accounts."""
    with schema(url) as database, database.connect_as_owner("tallystick bench") as connection:
        connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(database.schema)))
        _SQL["create"].run(connection)
        _SQL["open"].run(connection, {"accounts": accounts})
        yield RowLedger(database, connection)


class RowLedger:
    """The ledger in rows, and how transfers are requested from it."""

    def __init__(self, database: Database, connection: Connection[tuple[int, ...]]) -> None:
        self._database = database
        self._connection = connection
        self._made = 0

    def runs(self, clients: int, accounts: int, choosing: str = UNIFORM) -> Callable[[int], Measurement]:
        """Return a function that makes about the given number of transfers among the first accounts and times them."""
        script = f"{choosing}SELECT transfer(:debited, :credited, {AMOUNT});\n"
        return lambda count: self._run(script, clients, accounts, max(1, count // clients))

    def _run(self, script: str, clients: int, accounts: int, transfers: int) -> Measurement:
        with tempfile.NamedTemporaryFile("w", prefix="tallystick-bench-", suffix=".sql") as file:
            file.write(script)
            file.flush()
            written = self._pgbench(Path(file.name), clients, accounts, transfers)
        found = [pattern.search(written) for pattern in (_DONE, _RATE, _LATENCY)]
        done, rate, latency = (float(match[1]) if match else 0.0 for match in found)
        self._made += int(done)
        if done != clients * transfers or not rate:
            raise BenchFailed(f"pgbench did not do what it was asked:\n{written}")
        self._require_balance()
        return Measurement(int(done), done / rate, {"mean_milliseconds": latency})

    def _pgbench(self, script: Path, clients: int, accounts: int, transfers: int) -> str:
        command = [
            str(binaries() / "pgbench"),
            *("--no-vacuum", "--protocol=prepared", f"--file={script}", f"--define=accounts={accounts}"),
            *(f"--client={clients}", "--jobs=1", f"--transactions={transfers}"),
            self._database.conninfo("tallystick bench"),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True
            )
        except (subprocess.SubprocessError, OSError) as error:
            raise BenchFailed(f"pgbench failed: {error} {getattr(error, 'stderr', '')}") from error
        return done.stdout

    def _require_balance(self) -> None:
        if _SQL["books"].row(self._connection) != (self._made, 0, 0):
            raise BenchFailed("the books of the ledger in rows do not balance")
