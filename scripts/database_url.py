"""What is wrong with the URL of a database, in words that quote only names of options: the rest may be secret."""

import re
from collections.abc import Iterator, Mapping

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

_NO_URL = "is not a PostgreSQL URL"
_URL = re.compile(r"postgres(?:ql)?://[^\s]*")
_OPTION = re.compile(r"[A-Za-z_]{1,64}")

# PostgreSQL's library tells these values from wrong ones only when it connects, so a wrong one looks like an outage.
_CHOICES: Mapping[str, str] = {
    "sslmode": "disable|allow|prefer|require|verify-ca|verify-full",
    "sslnegotiation": "postgres|direct",
    "sslcertmode": "disable|allow|require",
    "gssencmode": "disable|prefer|require",
    "channel_binding": "disable|prefer|require",
    "target_session_attrs": "any|read-write|read-only|primary|standby|prefer-standby",
    "load_balance_hosts": "disable|random",
    **dict.fromkeys(("ssl_min_protocol_version", "ssl_max_protocol_version"), r"(?i:TLSv1(\.[123])?)|"),
    **dict.fromkeys(
        (
            *("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval"),
            *("keepalives_count", "tcp_user_timeout"),
        ),
        r"\s*-?[0-9]{1,9}\s*",
    ),
}
_MAX_PORT = 65_535


def wrong_with(url: str) -> str | None:
    """Return why PostgreSQL's library would refuse a URL whatever the server is, None if it would not."""
    try:
        given = conninfo_to_dict(url)
    except ProgrammingError:
        # Not what psycopg says of it: that would show the password.
        return _badly_formed(url)
    names = list(_wrong_values({name: str(value) for name, value in given.items()}))
    return f"is a PostgreSQL URL with a wrong value of an option: {', '.join(names)}" if names else None


def _badly_formed(url: str) -> str:
    begins, mark, options = url.partition("?")
    # A password with an unescaped question mark, slash or space could be taken for an option.
    if not (mark and _URL.fullmatch(begins) and "@" not in options):
        return _NO_URL
    known = {option.keyword.decode() for option in Conninfo.get_defaults()} | {"ssl"}
    given = [option.partition("=") for option in options.split("&")]
    names = [name if _OPTION.fullmatch(name) else "(not a name)" for name, _, _ in given if name not in known]
    if names:
        return f"is a PostgreSQL URL with an unknown option: {', '.join(dict.fromkeys(names))}"
    empty = [name for name, equals, _ in given if not equals]
    if empty:
        return f"is a PostgreSQL URL with an option without a value: {', '.join(dict.fromkeys(empty))}"
    return _NO_URL


def _wrong_values(given: Mapping[str, str]) -> Iterator[str]:
    """Return the names of the options whose value no server's address and no session can have."""
    hosts = (given.get("hostaddr") or given.get("host") or "").split(",")
    ports = given.get("port", "").split(",")
    if len(ports) not in (1, len(hosts)) or not all(map(_is_port, ports)):
        yield "port"
    for name, choices in _CHOICES.items():
        if name in given and not re.fullmatch(choices, given[name]):
            yield name


def _is_port(text: str) -> bool:
    """Tell whether it is a port, or nothing, which means the usual one."""
    return not text or (
        re.fullmatch(r"\s*\+?[0-9]{1,9}\s*", text) is not None and 1 <= int(text) <= _MAX_PORT
    )
