"""Pages of a long statement next to pages of a short one, over HTTP: both should take the same time."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from domain.journal.database import Database
from projections.registry import PROJECTIONS
from scripts.bench.stages.served import serving
from scripts.bench.stages.stage import Stage
from scripts.bench.workloads.books import balanced_books
from scripts.bench.workloads.catching_up import catch_up
from scripts.bench.workloads.installation import installation, running
from scripts.bench.workloads.recording import open_accounts, record
from scripts.bench.workloads.transfers import Transfer, address, random_uuid

LONG, SHORT = 0, 1
SHORT_ENTRIES = 1_000
ACCOUNTS = 1_000
PAGE_ENTRIES = 100
WARM_UP_PAGES = 50
MOST_PAGES = 2_000


@contextmanager
def statements(url: str, entries: int) -> Iterator[Stage]:
    """The statements stage: an account with many entries next to one with few, oldest and newest pages in turn."""
    with installation(url) as database:
        _fill(database, entries)
        catch_up(database, list(PROJECTIONS.values()))
        with serving(database, ACCOUNTS, unit="pages/s") as served:
            page = served.plan._replace(connections=1, kind="statement", size=PAGE_ENTRIES)
            contestants = tuple(
                served.load.contestant(name, page._replace(account=account), WARM_UP_PAGES, MOST_PAGES)
                for name, account in (("statement", LONG), ("short-statement", SHORT))
            )
            yield Stage(
                contestants,
                lambda: balanced_books(database, entries + SHORT_ENTRIES),
                in_any_order=True,
            )


def _fill(database: Database, entries: int) -> None:
    random = Random(4)
    with running(database) as ledger:
        open_accounts(ledger, ACCOUNTS)
        for account, wanted in ((LONG, entries), (SHORT, SHORT_ENTRIES)):
            record(ledger, _debits(account, wanted, random), random)


def _debits(account: int, wanted: int, random: Random) -> Iterator[Transfer]:
    name = random_uuid(random)
    for number in range(wanted):
        credited = random.randrange(SHORT + 1, ACCOUNTS)
        yield Transfer(f"{name}-{number:08}", address(account), address(credited))
