"""What each process of the service finds in its environment: what it needs, and no more.

The environment of a process can be read by whoever runs as its user, stands in its core dumps, and is inherited by all
that it starts. So the key that signs is the projector's alone, the secrets of providers are the API's, and PostgreSQL
and the simulator get none of them.
"""

from collections.abc import Collection, Mapping, MutableMapping

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
# For adapters of an operator's own; nothing of this project believes a proxy that the environment names.
_OF_ADAPTERS = (
    *("TALLYSTICK_ADAPTER_*", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)

_OWN: Mapping[str, Collection[str]] = {
    "api": ("TALLYSTICK_PROVIDERS",),
    "projector": ("TALLYSTICK_SIGNING_KEY",),
    "publisher": ("TALLYSTICK_NATS_URL",),
}
"""Of the settings that are secrets, which process gets which. The bootstrap key is nobody's: the parent has used it."""

_NOBODYS = ("TALLYSTICK_BOOTSTRAP_KEY", "TALLYSTICK_DATABASE_URL", "TALLYSTICK_DATA_DIR")


def of_postgres(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the embedded PostgreSQL gets: no secret, and nothing that would have it work elsewhere."""
    return _chosen(environment, _OF_SYSTEM)


def of_simulator(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the simulator beside a service gets, but for its own secret."""
    return _chosen(environment, _OF_PYTHON)


def of_process(name: str, environment: Mapping[str, str], *, is_embedded: bool) -> dict[str, str]:
    """Return what a process of the service gets, by its name, but for where the database is.

    What libpq takes from the environment is for a database of the operator's; the embedded one is where it is.
    """
    wanted = [*_OF_PYTHON, *(() if is_embedded else _OF_LIBPQ), *(_OF_ADAPTERS if name == "api" else ())]
    return _chosen(environment, wanted) | {
        variable: value for variable, value in environment.items() if variable.upper() in _settings_of(name)
    }


def forget_libpq(environment: MutableMapping[str, str]) -> None:
    """Take away what libpq would follow, from PGSERVICE to PGTZ: this process speaks to the embedded PostgreSQL."""
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
