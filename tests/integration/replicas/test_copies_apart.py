"""A replica of a placement whose installations have servers of their own, of which one falls behind and is lost."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.integration.replicas.pairs import write
from tests.integration.replicas.placed import HOME, NAMES, OTHER, PlacedCopies, copies_apart, opened
from tests.projecting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PATIENTLY = {"Prefer": "wait=30"}


@pytest.fixture(scope="module")
def apart(module_path: Path) -> Iterator[PlacedCopies]:
    with copies_apart(module_path) as made:
        yield made


def transactions(client: httpx2.Client, ledger: str, position: int, **headers: str) -> httpx2.Response:
    path, asked = f"/v1/ledgers/{ledger}/transactions", {"min_position": position}
    return client.get(path, params=asked, headers={**PATIENTLY, **headers})


def test_each_copy_answers_for_itself(apart: PlacedCopies) -> None:
    behind = apart.of_each[OTHER]
    with apart.primary() as primary, apart.replica() as replica:
        ledgers = {name: opened(primary, name) for name in NAMES}
        for ledger in ledgers.values():
            assert transactions(replica, ledger, write(primary, ledger)).status_code == 200
        with behind.not_replaying():
            positions = {name: write(primary, ledger) for name, ledger in ledgers.items()}
            shown = transactions(replica, ledgers[HOME], positions[HOME])
            assert (shown.status_code, len(shown.json()["data"])) == (200, 2)
            late = transactions(replica, ledgers[OTHER], positions[OTHER], Prefer="wait=0")
            assert (late.status_code, late.json()["code"]) == (503, "projection_behind")
        shown = transactions(replica, ledgers[OTHER], positions[OTHER])
        assert (shown.status_code, len(shown.json()["data"])) == (200, 2)
        behind.standby.stop()
        eventually(lambda: replica.get("/v1/ledgers").json()["unanswered"] == [OTHER])
        assert transactions(replica, ledgers[HOME], positions[HOME]).status_code == 200
        assert transactions(replica, ledgers[OTHER], positions[OTHER]).status_code == 503
        position = write(primary, ledgers[OTHER])
        behind.standby.start()
        eventually(lambda: replica.get("/v1/ledgers").json()["unanswered"] == [])
        shown = transactions(replica, ledgers[OTHER], position)
        assert (shown.status_code, len(shown.json()["data"])) == (200, 3)
