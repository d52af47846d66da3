"""Where webhooks may go: never into the network of the service itself, unless its operator allows that.

A URL is checked when it is registered. Its host's name may lead elsewhere a moment later, so each address is checked
again when it is connected to (`sending.py`). The second check is the one that protects.
"""

import ipaddress
import re
import socket
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

MAX_URL_LENGTH = 2048

_VISIBLE = re.compile(r"[!-~]+")

# Every IPv6 address of one host on the public Internet is in 2000::/3 (RFC 4291 §2.4, IANA's IPv6 address space). An
# address outside of it either leads to no host, or carries an IPv4 address that a gateway extracts: ::/96,
# ::ffff:0:0/96, ::ffff:0:0:0/96, 64:ff9b::/96, 64:ff9b:1::/48. If the network of the service has such a gateway, these
# would reach its private addresses, so all are refused, whatever address they carry.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.0.0.0/24",  # protocols, not hosts
            "192.88.99.0/24",  # 6to4 relays
            "2001::/23",  # protocols, among them Teredo, which carries an IPv4 address
            "2002::/16",  # 6to4, which carries one too
            "3fff::/20",  # examples in documents
        ),
    )
)
# The last eight bytes of an ISATAP address begin with one of these (RFC 5214 §6.1) and end with an IPv4 address.
_ISATAP = frozenset((0x00005EFE, 0x02005EFE))


class Policy(NamedTuple):
    """What an operator allows besides https to public addresses."""

    allow_private: bool = False
    allow_http: bool = False

    def refusal(self, url: str) -> str | None:
        """Return why a URL may not be registered, None if it may. The host's name is not looked up."""
        if len(url) > MAX_URL_LENGTH or not _VISIBLE.fullmatch(url):
            return f"must be a URL of visible ASCII characters, at most {MAX_URL_LENGTH}"
        parts = _split(url)
        if parts is None or not parts.hostname or parts.fragment:
            return "must be an absolute URL with a host and without a fragment"
        if parts.username is not None or parts.password is not None:
            return "must not carry credentials: deliveries are signed"
        if parts.scheme != "https" and not (parts.scheme == "http" and self.allow_http):
            return "must begin with https://" + (" or http://" if self.allow_http else "")
        return self.refusal_of_addresses([parts.hostname]) if _is_address(parts.hostname) else None

    def refusal_of_addresses(self, addresses: list[str]) -> str | None:
        """Return why these addresses are refused, or None if all are allowed."""
        if all(self.admits(address) for address in addresses):
            return None
        return "must lead to public addresses, not into a private network"

    def admits(self, address: str) -> bool:
        """Tell whether an IP address may be connected to."""
        return self.allow_private or is_public(address)


def host_of(url: str) -> tuple[str, int]:
    """Return the host and port of a URL that may be registered."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def addresses_of(host: str, port: int) -> list[str]:
    """Return the present addresses of a host, each once. Raises `OSError` if the host cannot be found.

    Blocks for as long as the system's resolver takes.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host} is not a host name") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: str) -> bool:
    """Tell whether an address names one host of the public Internet, and wraps no other address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if not ip.is_global or ip.is_multicast or any(ip in network for network in _SPECIAL):
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return True
    return ip in _GLOBAL_UNICAST and int(ip) >> 32 & 0xFFFFFFFF not in _ISATAP


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        return parts if parts.port != 0 else None
    except ValueError:
        return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
