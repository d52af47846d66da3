"""A real cluster loses its primary under load: nothing acknowledged is lost or doubled, no answer is wrong, all go on.

`python -m tests.chaos.losing_primaries` does the same a hundred times, in every way.
"""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cluster.cluster import running_cluster
from tests.cluster.load import Load
from tests.cluster.losing import broken_promises, lose, served
from tests.cluster.network import may_be_made

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        "CI" not in os.environ and not (shutil.which("etcd") and find_spec("patroni")),
        reason="there is no cluster without etcd (apt-get install etcd-server) and the package patroni",
    ),
    pytest.mark.skipif(not may_be_made(), reason="members need network namespaces of their own: be root"),
]


def test_no_answer_is_wrong_and_all_go_on_whatever_becomes_of_the_primary(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster, served(cluster, tmp_path) as services:
        with Load(services) as load:
            for loss in ("postgres killed", "switched over", "cut off, clients reach it"):
                lose(cluster, load, loss)
        assert broken_promises(cluster, load) == []
        assert [service.process.poll() for service in services] == [None, None]
        assert all(service.stop() == 0 for service in services)
