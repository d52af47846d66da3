"""What each process of the service gets in its environment: what it needs and nothing more.

The environment of a process can be read by its user, is written into core dumps, and is inherited by every process it
starts. So only the projector gets the signing key and the keys to witnessed services, and only the API gets the secrets
of providers. PostgreSQL and the simulator get none of them.
"""

from collections.abc import Collection, Mapping, MutableMapping

LIFELINE = "TALLYSTICK_LIFELINE"
"""The variable that holds the file descriptor of a child's lifeline (supervisor.py)."""

INSTALLATION = "TALLYSTICK_INSTALLATION"
"""The variable that holds the name of the installation that a process works for, if the service is a placement."""

SIBLINGS = "TALLYSTICK_SIBLINGS"
"""The variable that tells a projector of a placement where the other installations are, which it witnesses."""

_OF_SYSTEM = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "TEMP", "TMP"),
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "MALLOC_*", "GLIBC_TUNABLES"),
)
_OF_PYTHON = (
    *_OF_SYSTEM,
    *("PYTHON*", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR"),
)
_OF_LIBPQ = ("PG*", "KRB5*")
# Every process sends its own spans to the collector. The headers may have a secret, which the collector asks for.
_OF_TRACES = ("OTEL_*",)
# For an operator's own adapters. This project itself uses no proxy named in the environment.
_OF_ADAPTERS = (
    *("TALLYSTICK_ADAPTER_*", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)

_OWN: Mapping[str, Collection[str]] = {
    "api": ("TALLYSTICK_PROVIDERS", "TALLYSTICK_INSTALLATIONS"),
    "projector": ("TALLYSTICK_SIGNING_KEY", "TALLYSTICK_WITNESSED"),
    "publisher": ("TALLYSTICK_NATS_URL",),
}
"""Which process gets which secret setting. No child gets the bootstrap key, because the parent has already used it."""

_NOBODYS = ("TALLYSTICK_BOOTSTRAP_KEY", "TALLYSTICK_DATABASE_URL", "TALLYSTICK_DATA_DIR")


def of_postgres(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the embedded PostgreSQL: no secret, and nothing that would change where it works."""
    return _chosen(environment, _OF_SYSTEM)


def of_simulator(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the simulator beside a service, without its own secret."""
    return _chosen(environment, _OF_PYTHON)


def of_process(
    name: str, environment: Mapping[str, str], *, is_embedded: bool, is_traced: bool = False
) -> dict[str, str]:
    """Return the environment of a process of the service, by its name, without the place of the database.

    libpq's variables are passed on only for an operator's database. The embedded one has a fixed place.
    OpenTelemetry's variables are passed on only if traces are on.
    """
    wanted = [*_OF_PYTHON, *(() if is_embedded else _OF_LIBPQ), *(_OF_ADAPTERS if name == "api" else ())]
    wanted += _OF_TRACES if is_traced else ()
    return _chosen(environment, wanted) | {
        variable: value for variable, value in environment.items() if variable.upper() in _settings_of(name)
    }


def forget_libpq(environment: MutableMapping[str, str]) -> None:
    """Remove every variable libpq would follow, from PGSERVICE to PGTZ: this process connects to the embedded
    PostgreSQL.
    """
    for variable in [name for name in environment if name.startswith("PG")]:
        del environment[variable]


def _settings_of(process: str) -> set[str]:
    from api.settings import Settings

    every = {
        str(field.validation_alias or f"TALLYSTICK_{name.upper()}")
        for name, field in Settings.model_fields.items()
    }
    of_others = {name for owner, names in _OWN.items() if owner != process for name in names}
    return every - of_others - set(_NOBODYS)


def _chosen(environment: Mapping[str, str], wanted: Collection[str]) -> dict[str, str]:
    names = {name for name in wanted if not name.endswith("*")}
    prefixes = tuple(name.removesuffix("*") for name in wanted if name.endswith("*"))
    return {name: value for name, value in environment.items() if name in names or name.startswith(prefixes)}
