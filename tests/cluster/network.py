"""Two networks in this machine, one of the cluster's members and one of their clients, from which members are cut off.

Each member is in a network namespace of its own, with an interface in both. A link that is cut drops everything, in
silence, as a cable does that is pulled. Making namespaces takes rights that a container may lack: `may_be_made` tells.
"""

import os
import subprocess
from collections.abc import Sequence
from uuid import uuid4

OF_MEMBERS, OF_CLIENTS = 1, 2
"""The networks, by the third number of their addresses."""

_HOST = 254

KERNEL = {
    "net.ipv4.tcp_keepalive_time": 10,
    "net.ipv4.tcp_keepalive_intvl": 2,
    "net.ipv4.tcp_keepalive_probes": 3,
    "net.ipv4.tcp_retries2": 5,
}
"""Settings of each member's kernel. By default, Patroni may wait hours for a primary that was cut off (CLUSTER.md)."""


def run(*command: str) -> None:
    """Run a command of the system; raise if it fails."""
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)


def may_be_made() -> bool:
    """Tell whether this process may make network namespaces."""
    if os.geteuid() != 0:
        return False
    name = f"ts{uuid4().hex[:6]}"
    try:
        run("ip", "netns", "add", name)
        run("ip", "netns", "del", name)
        run("ip", "link", "add", name, "type", "bridge")
        run("ip", "link", "del", name)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


class Network:
    """The two networks. This process is in both, as etcd is in one and the service in the other."""

    def __init__(self, members: Sequence[str]) -> None:
        """Make them, with a place for each member."""
        self._members = list(members)
        self._name = f"ts{uuid4().hex[:6]}"
        self._block = int(uuid4()) % 200 + 20
        for network in (OF_MEMBERS, OF_CLIENTS):
            bridge = self._bridge(network)
            run("ip", "link", "add", bridge, "type", "bridge")
            run("ip", "addr", "add", f"{self._address(network, _HOST)}/24", "dev", bridge)
            run("ip", "link", "set", bridge, "up")
        for member in members:
            self._add(member)

    @property
    def host(self) -> str:
        """The address of this process in the network of the members."""
        return self._address(OF_MEMBERS, _HOST)

    def address(self, member: str, network: int = OF_MEMBERS) -> str:
        """Return the address of a member."""
        return self._address(network, self._members.index(member) + 1)

    def inside(self, member: str) -> list[str]:
        """Return the words before a command that runs it at a member's place."""
        return ["ip", "netns", "exec", self._namespace(member)]

    def cut(self, member: str, *networks: int) -> None:
        """Cut a member's links to these networks."""
        for network in networks:
            run("ip", "link", "set", self._link(member, network), "down")

    def mend(self, member: str) -> None:
        """Mend a member's links."""
        for network in (OF_MEMBERS, OF_CLIENTS):
            run("ip", "link", "set", self._link(member, network), "up")

    def close(self) -> None:
        """Remove both networks."""
        for member in self._members:
            run("ip", "netns", "del", self._namespace(member))
        for network in (OF_MEMBERS, OF_CLIENTS):
            run("ip", "link", "del", self._bridge(network))

    def _add(self, member: str) -> None:
        namespace = self._namespace(member)
        run("ip", "netns", "add", namespace)
        run(*self.inside(member), "ip", "link", "set", "lo", "up")
        run(*self.inside(member), "sysctl", "--write", *(f"{name}={value}" for name, value in KERNEL.items()))
        for network in (OF_MEMBERS, OF_CLIENTS):
            link, inside = self._link(member, network), f"eth{network}"
            run("ip", "link", "add", link, "type", "veth", "peer", "name", inside, "netns", namespace)
            run("ip", "link", "set", link, "master", self._bridge(network), "up")
            address = f"{self.address(member, network)}/24"
            run(*self.inside(member), "ip", "addr", "add", address, "dev", inside)
            run(*self.inside(member), "ip", "link", "set", inside, "up")

    def _address(self, network: int, number: int) -> str:
        return f"10.{self._block}.{network}.{number}"

    def _bridge(self, network: int) -> str:
        return f"{self._name}br{network}"

    def _link(self, member: str, network: int) -> str:
        return f"{self._name}{member}{network}"

    def _namespace(self, member: str) -> str:
        return f"{self._name}{member}"
