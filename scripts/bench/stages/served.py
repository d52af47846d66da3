"""What the stages over HTTP have in common: the complete service on an installation of its own, and the load on it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from secrets import token_urlsafe
from typing import NamedTuple

from domain.journal.database import Database
from projections.registry import install
from scripts.bench.meters.disk_space import Relation, bytes_of
from scripts.bench.meters.processor_time import BARE_ROUTE, BENCH, SUPERVISOR, ProcessorMeter
from scripts.bench.report.figures import Contestant
from scripts.bench.stages.stage import Stage
from scripts.bench.workloads.books import balanced_books
from scripts.bench.workloads.catching_up import seconds_to_catch_up, seconds_until_caught_up
from scripts.bench.workloads.http_load import CONNECTIONS, HttpLoad, Sent
from scripts.bench.workloads.installation import installation, running
from scripts.bench.workloads.recording import open_accounts
from scripts.bench.workloads.requests import Plan
from scripts.bench.workloads.servers import Server, bare_route, service


class ServedLedger(NamedTuple):
    """A service and its database; the plan of single transfers among all accounts; the load that runs plans; and what
    was sent to the installation.

    `catch_up` waits for the read models and returns how long that took, in seconds. It asks on the meter's connection,
    of which the time is not counted.
    """

    database: Database
    server: Server
    meter: ProcessorMeter
    catch_up: Callable[[], float]
    plan: Plan
    load: HttpLoad
    sent: Sent

    def stage(self, contestants: Iterable[Contestant]) -> Stage:
        """Return the stage of these contestants. Only what was sent has made transfers."""
        return Stage(
            tuple(contestants),
            lambda: balanced_books(self.database, self.sent.acknowledged),
            space=self._space,
            in_any_order=True,
        )

    def _space(self) -> Mapping[Relation, int]:
        seconds_to_catch_up(self.database)
        return bytes_of(self.database)


@contextmanager
def served_ledger(url: str, accounts: int, *, limited: bool = False) -> Iterator[ServedLedger]:
    """The service with this many accounts, which its read models show already."""
    with installation(url) as database:
        install(database)
        with running(database) as ledger:
            open_accounts(ledger, accounts, limited=limited)
        with serving(database, accounts) as served:
            seconds_to_catch_up(database)
            yield served


@contextmanager
def serving(
    database: Database,
    accounts: int,
    unit: str = "transfers/s",
    *,
    projectors: int = 1,
    workers: int = 1,
    sent: Sent | None = None,
) -> Iterator[ServedLedger]:
    """The service on an installation that has this many accounts. `sent` is what services before it were sent."""
    sent = sent or Sent()
    key = "tk_" + token_urlsafe(32)
    with service(database, key, projectors, workers) as server, database.connect(BENCH) as connection:
        meter = ProcessorMeter(server.process_id, SUPERVISOR, connection)
        catch_up = partial(seconds_until_caught_up, connection)
        plan = Plan(server.port, key, CONNECTIONS, 0, accounts, 0)
        load = HttpLoad(meter, sent, catch_up, unit)
        yield ServedLedger(database, server, meter, catch_up, plan, load, sent)


@contextmanager
def bare_load(plan: Plan) -> Iterator[tuple[Plan, HttpLoad]]:
    """The bare route: the plan as it is sent to it, and the load on it."""
    with bare_route() as server:
        yield (
            plan._replace(port=server.port),
            HttpLoad(ProcessorMeter(server.process_id, BARE_ROUTE), Sent(), unit="requests/s"),
        )
