"""A cluster: three members under Patroni, and etcd, which knows who is the primary. All on this machine.

The cluster loses its primary in each of the ways of `LOSSES`, and by `recover` what was lost comes back. It decides by
itself who is the primary then: nothing here promotes or restarts a server.
"""

import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple
from urllib.parse import quote

import psycopg
from psycopg import sql

from tests.cluster.members import PASSWORD, Member
from tests.cluster.network import OF_CLIENTS, OF_MEMBERS, Network
from tests.lifeline import ends_with_the_tests

NAMES = ("a", "b", "c")
HEALTHY_SECONDS = 60.0
"""How long a cluster may take until each of its members is there again."""

UNLOCKED_SECONDS = 40.0
"""After this time Patroni has promoted a member, if one may be promoted: twice `ttl`."""


class Loss(NamedTuple):
    """A way to lose a primary or what it needs, and how what was lost comes back.

    If another primary does not follow, the loss lasts for some seconds.
    """

    begin: Callable[["Cluster", Member], None]
    end: Callable[["Cluster", Member], None] = lambda cluster, primary: None
    lasts_seconds: float | None = None


def _switch_over(cluster: "Cluster", primary: Member) -> None:
    give_up_at = monotonic() + HEALTHY_SECONDS
    while (answer := primary.ask("/switchover", {"leader": primary.name})).status_code != 200:
        if cluster.primary() not in (None, primary):
            return  # another has followed unasked, since this one answered too slowly
        # It is refused until etcd knows which standby is the synchronous one.
        assert monotonic() < give_up_at, answer.text
        sleep(0.5)


def _fill_disk(cluster: "Cluster", primary: Member) -> None:
    """No room is left, which Patroni does not mind as long as PostgreSQL runs. So an operator switches over."""
    primary.fill_disk()
    sleep(2)
    _switch_over(cluster, primary)


def _freeze_standby(cluster: "Cluster", primary: Member) -> None:
    followers = primary.state()["replication"]
    (name,) = (each["application_name"] for each in followers if each["sync_state"] == "sync")
    cluster.members[name].freeze()


def _thaw_all(cluster: "Cluster", primary: Member) -> None:
    for member in cluster.members.values():
        member.thaw()


def _lose_twice(cluster: "Cluster", primary: Member) -> None:
    """Lose a primary, and the next one before etcd names who may follow it. So an operator says who follows."""
    lost = cluster.identity()
    primary.kill()
    while cluster.identity() in (None, lost) or (second := cluster.primary()) is None:
        sleep(0.05)
    second.freeze()
    sleep(UNLOCKED_SECONDS)
    if cluster.primary() is None:
        cluster.fail_over(without=second)


LOSSES: dict[str, Loss] = {
    "postgres killed": Loss(lambda _, primary: primary.kill_postgres()),
    "switched over": Loss(_switch_over),
    "member killed": Loss(lambda _, primary: primary.kill()),
    "frozen": Loss(lambda _, primary: primary.freeze(), _thaw_all),
    "disk full, switched over": Loss(_fill_disk, lambda _, primary: primary.free_disk()),
    "cut off": Loss(
        lambda _, primary: primary.cut_off(OF_MEMBERS, OF_CLIENTS), lambda _, primary: primary.join()
    ),
    "cut off, clients reach it": Loss(
        lambda _, primary: primary.cut_off(OF_MEMBERS), lambda _, primary: primary.join()
    ),
    "standby frozen": Loss(_freeze_standby, _thaw_all, lasts_seconds=15),
    "etcd frozen": Loss(
        lambda cluster, _: cluster.freeze_etcd(), lambda cluster, _: cluster.thaw_etcd(), lasts_seconds=30
    ),
}

TWICE = "lost twice at once"
"""The loss that nobody gets over without an operator."""

LOSSES_AND_TWICE = {**LOSSES, TWICE: Loss(_lose_twice, _thaw_all)}


class Cluster:
    """A running cluster."""

    def __init__(self, folder: Path, network: Network) -> None:
        self._folder = folder
        self._etcd_address = f"{network.host}:2379"
        self._wants_standby = True
        self.members = {name: Member(name, folder, network, self._etcd_address) for name in NAMES}

    def change(self, settings: Mapping[str, Any]) -> None:
        """Change settings of the whole cluster, as `patronictl edit-config` does."""
        primary = self.await_health()
        primary.change(settings)
        self._wants_standby = settings.get("synchronous_mode", True)
        sleep(5)  # members look every two seconds

    @property
    def url(self) -> str:
        """The URL that leads the service to whichever member is the primary."""
        return self._url("tallystick", "tallystick")

    def superuser_url(self, database: str = "tallystick") -> str:
        """The URL of the superuser at whichever member is the primary."""
        return self._url("postgres", database)

    def _url(self, user: str, database: str) -> str:
        hosts = ",".join(member.address for member in self.members.values())
        options = "target_session_attrs=primary&connect_timeout=2"
        return f"postgresql://{user}:{quote(PASSWORD)}@{hosts}/{database}?{options}"

    def start_etcd(self) -> None:
        """Start etcd, where all members reach it."""
        url, peers = f"http://{self._etcd_address}", self._etcd_address.replace(":2379", ":2380")
        with (self._folder / "etcd.log").open("ab") as log:
            self._etcd = subprocess.Popen(
                [
                    *("etcd", "--data-dir", str(self._folder / "etcd"), "--name", "one"),
                    *("--listen-client-urls", url, "--advertise-client-urls", url),
                    *(
                        "--listen-peer-urls",
                        f"http://{peers}",
                        "--initial-advertise-peer-urls",
                        f"http://{peers}",
                    ),
                    *("--initial-cluster", f"one=http://{peers}", "--log-level", "error"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        ends_with_the_tests(self._etcd.pid)

    def stop_etcd(self) -> None:
        """End etcd."""
        self._etcd.kill()
        self._etcd.wait()

    def freeze_etcd(self) -> None:
        """Stop etcd, so that nobody is told anything."""
        self._etcd.send_signal(signal.SIGSTOP)

    def thaw_etcd(self) -> None:
        """Have etcd go on."""
        self._etcd.send_signal(signal.SIGCONT)

    def primary(self) -> Member | None:
        """Return the member that says it is the primary, None if there is none just now."""
        roles = {name: member.state().get("role") for name, member in self.members.items()}
        found = [name for name, role in roles.items() if role in ("primary", "master")]
        return self.members[found[0]] if len(found) == 1 else None

    def identity(self) -> tuple[str, str] | None:
        """Return what tells a primary from every other, and from itself before it was started again."""
        primary = self.primary()
        started_at = primary.state().get("postmaster_start_time") if primary else None
        return (primary.name, started_at) if primary and started_at else None

    def is_healthy(self) -> bool:
        """Tell whether one member is the primary, both others follow it, and one may be promoted if that is wanted."""
        primary = self.primary()
        if primary is None:
            return False
        state = primary.state()
        if state.get("cluster_unlocked") or state.get("failsafe_mode_is_active"):
            return False  # it does not hold etcd's lock, so its failover would wait until that is sure
        followers = state.get("replication", [])
        streaming = [each for each in followers if each.get("state") == "streaming"]
        return len(streaming) == 2 and (self.has_successor() or not self._wants_standby)

    def has_successor(self) -> bool:
        """Tell whether etcd names a synchronous standby. Only that one may be promoted.

        PostgreSQL says of a standby that it is synchronous some seconds before etcd does.
        """
        return any(member.state().get("sync_standby") for member in self.members.values())

    def fail_over(self, without: Member) -> None:
        """Promote the member with the newest log, as scripts/CLUSTER.md has an operator do it."""
        newest = max(
            (member for member in self.members.values() if member is not without),
            key=lambda member: max(
                member.state()["xlog"][f"{which}_location"] for which in ("received", "replayed")
            ),
        )
        answer = newest.ask("/failover", {"candidate": newest.name})
        assert answer.status_code == 200, answer.text

    def await_health(self) -> Member:
        """Return the primary once all is well."""
        give_up_at = monotonic() + HEALTHY_SECONDS
        while monotonic() < give_up_at:
            if self.is_healthy() and (primary := self.primary()):
                return primary
            sleep(0.2)
        raise AssertionError("the cluster does not become healthy:\n" + self.logs())

    def logs(self) -> str:
        """What the members say, the last of it."""
        return "\n".join(
            f"--- {name}: {member.state()}\n{member.log()}" for name, member in self.members.items()
        )

    def make_roles(self) -> None:
        """Make the login of the service and its database, as scripts/CLUSTER.md says."""
        with psycopg.connect(self.superuser_url("postgres"), autocommit=True) as superuser:
            superuser.execute(sql.SQL("CREATE ROLE tallystick LOGIN PASSWORD {}").format(PASSWORD))
            superuser.execute("CREATE ROLE tallystick_service NOLOGIN")
            superuser.execute("GRANT tallystick_service TO tallystick WITH INHERIT TRUE, SET TRUE")
            superuser.execute("GRANT pg_monitor TO tallystick")
            superuser.execute("CREATE DATABASE tallystick OWNER tallystick")


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """A healthy cluster in an empty folder, with the roles of the service."""
    with ExitStack() as stack:
        network = Network(NAMES)
        stack.callback(network.close)
        cluster = Cluster(folder, network)
        cluster.start_etcd()
        stack.callback(cluster.stop_etcd)
        for member in cluster.members.values():
            stack.callback(member.stop)
            member.start()
        cluster.await_health()
        cluster.make_roles()
        # Their disks are small, and no machine that has to hold three of them is to keep 4 GB of log for each.
        cluster.change({"postgresql": {"parameters": {"max_wal_size": "128MB"}}})
        yield cluster
