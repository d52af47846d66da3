"""A cluster loses its primary a hundred times under load, in every way in turn: python -m tests.chaos.losing_primaries.

At the end every answer is held against the journal. It needs etcd, Patroni, root, and the right to make network
namespaces.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from time import monotonic

from tests.cluster.cluster import LOSSES, LOSSES_AND_TWICE, running_cluster
from tests.cluster.load import Load
from tests.cluster.losing import Outage, broken_promises, lose, served


def main() -> None:
    """Lose primaries as often as the options say, then print what came of it. Exit 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--losses", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no loss after these")
    parser.add_argument(
        "--only", choices=LOSSES_AND_TWICE, action="append", help="this loss; may be repeated"
    )
    parser.add_argument("--set", default="{}", help="settings to change, as JSON: to see what they lose")
    options = parser.parse_args()
    outages, stuck = list[Outage](), list[str]()
    with (
        tempfile.TemporaryDirectory(prefix="tallystick-cluster-") as name,
        running_cluster(Path(name)) as cluster,
        served(cluster, Path(name)) as services,
    ):
        if settings := json.loads(options.set):
            cluster.change(settings)
        began_at = monotonic()
        with Load(services) as load:
            for loss in islice(cycle(options.only or LOSSES), options.losses):
                if monotonic() > began_at + 60 * options.minutes:
                    break
                try:
                    outages.append(lose(cluster, load, loss))
                except AssertionError as error:
                    stuck.append(f"{loss}: {error}")
                    break
                print(f"{len(outages):4d}  {outages[-1]}", flush=True)
            cluster.await_health()
        broken = [*stuck, *broken_promises(cluster, load)]
        restarted = [service.url for service in services if service.process.poll() is not None]
        writes = sum(sent.position is not None for sent in load.written)
        seconds = monotonic() - began_at
        print(f"\n{writes} writes acknowledged, {len(load.read)} accounts read, in {seconds:.0f} s")
    print("\n".join(described(outages)))
    print(f"services that ended: {len(restarted)}; broken promises: {len(broken)}")
    print("\n".join(broken[:50]))
    sys.exit(bool(broken or restarted))


def described(outages: Sequence[Outage]) -> list[str]:
    """Return a line for each loss: how often, and for how long nothing was acknowledged, or nobody could follow."""
    by_loss = defaultdict[str, list[float]](list)
    for outage in outages:
        by_loss[outage.loss].append(outage.seconds)
        by_loss["all"].append(outage.seconds)
        if outage.alone_seconds is not None:
            by_loss["without a successor"].append(outage.alone_seconds)
    return [
        f"{loss:28s} {len(found):4d} times  least {min(found):5.1f}  median {statistics.median(found):5.1f}"
        f"  most {max(found):5.1f} s"
        for loss, found in by_loss.items()
    ]


if __name__ == "__main__":
    main()
