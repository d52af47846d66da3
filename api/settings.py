"""The options of the server: one field for each, read from `TALLYSTICK_…` in the environment."""

import binascii
import itertools
import json
import os
import re
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from domain.application import MAX_CLOCK_DIFFERENCE_SECONDS
from domain.journal.database import Database, ReadOnlyDatabase
from domain.model.payouts.bridges import BRIDGE
from domain.model.streams import PROVIDER_PATTERN
from domain.placement.installations import MAIN, NAME_PATTERN, Installation
from domain.transparency.signed_notes import SEED_BYTES
from projections.outbox.destinations import Policy
from projections.outbox.publishing import (
    DEFAULT_STREAM,
    DEFAULT_SUBJECT,
    DISABLE_AFTER_SECONDS,
    TIMEOUT_SECONDS,
    Publishing,
    Streaming,
)
from projections.outbox.schedule import FIRST_WAIT_SECONDS
from projections.process_managers.providers.settings import ProviderSettings
from projections.witnessing.settings import DEFAULT_PERIOD_SECONDS, LogName, WitnessedSettings

MIN_BOOTSTRAP_KEY_LENGTH = 24

# Stands unquoted in the search path and begins the names of notification channels, which have at most 63 bytes.
_SCHEMA_PATTERN = r"^[a-z_][a-z0-9_]{0,39}$"

# Scheme, host and port of a page (RFC 6454 §7), only in the form that browsers send, since it is compared as text.
_ORIGIN = re.compile(
    r"(?:http://(?!\S*:80$)|https://(?!\S*:443$))(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?"
)

# A scheme, a host, perhaps a port and a path, in visible characters. A login would need an @ before the path.
_ADDRESS = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(?:/[!-~]*)?")

_MAX_STREAM_LENGTH = 128
_STREAM_PATTERN = rf"^[A-Za-z0-9_-]{{1,{_MAX_STREAM_LENGTH}}}$"
_SUBJECT_PATTERN = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$"

MAX_WITNESSED = 64

MAX_PROJECTORS = 9
"""As many as there are read models: a projector more would have nothing to do."""


def usual_projectors() -> int:
    """Return how many projectors to run: half as many as this process may use processors, from 1 to 4.

    Each of them reads the whole journal. Two cost half as much again for a transfer as one, so on two processors, which
    the API and PostgreSQL need as well, a second one would take more than it gives.
    """
    return max(1, min(4, len(os.sched_getaffinity(0)) // 2))


MAX_INSTALLATIONS = 64


class StreamNames(NamedTuple):
    """A NATS stream, and the first part of its subjects."""

    name: str
    subject: str


def _is_address(text: str) -> str:
    """Return the address of a service without a slash at its end, such as `https://books.example.com`.

    It is told to callers, and paths are appended to it: so it has no login, no query and no fragment.
    """
    if text and not (_ADDRESS.fullmatch(text) and _is_place(text)):
        raise ValueError(
            "must be the address of a service, such as https://books.example.com or http://10.0.0.1:8000/books,"
            " without a login, a query or a fragment"
        )
    return text.rstrip("/")


def _is_place(url: str) -> bool:
    """Tell whether a URL has a host, a port that exists or none, and nothing after the path."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and not {"?", "#"} & set(url)
    except ValueError:  # of the port, or of a bracket
        return False


# What may stand in a message: a name that cannot be may be a secret in the wrong place.
_SHOWN_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def _parsed(given: Any) -> Any:
    """Return what a setting says in JSON. A name that is there twice is refused, since only one would count."""
    if given is None:
        return {}
    try:
        return json.loads(given, object_pairs_hook=_each_once) if isinstance(given, str) else given
    except json.JSONDecodeError:
        # Its own message would show the secrets.
        raise ValueError("is not JSON") from None


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"has {twice if _SHOWN_NAME.fullmatch(twice) else 'a name'} twice")
    return found


Parsed = (NoDecode, BeforeValidator(_parsed))
"""Of a setting that is JSON."""


class InstallationSettings(BaseModel):
    """Where one installation of a placement is. What is left out is as for the whole service.

    Its NATS stream and the first part of its subjects: without them `Settings.stream_of`.
    """

    # Pydantic's models have a method called `schema`.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: str | None = Field(None, min_length=1)
    schema_: str | None = Field(None, pattern=_SCHEMA_PATTERN, alias="schema")
    nats_stream: str | None = Field(None, pattern=_STREAM_PATTERN)
    nats_subject: str | None = Field(None, pattern=_SUBJECT_PATTERN)


class Settings(BaseSettings):
    """The options of one process. An invalid one raises `pydantic.ValidationError`."""

    model_config = SettingsConfigDict(env_prefix="TALLYSTICK_", populate_by_name=True, frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    database_url: str | None = None
    data_dir: Path = Path(".tallystick")
    workers: int = Field(1, ge=1, le=64)
    projectors: int = Field(default_factory=usual_projectors, ge=1, le=MAX_PROJECTORS)
    # Pydantic's models have a method called `schema`.
    schema_: str = Field("tallystick", pattern=_SCHEMA_PATTERN, validation_alias="TALLYSTICK_SCHEMA")
    # JSON, by name, home first: {"east": {"database_url": "postgresql://…"}, "west": {"schema": "west"}}
    installations: Annotated[
        dict[Annotated[str, Field(pattern=NAME_PATTERN)], InstallationSettings], *Parsed
    ] = Field(default_factory=dict, max_length=MAX_INSTALLATIONS)
    bootstrap_key: SecretStr | None = None
    # JSON, by name: {"simulator": {"url": "http://127.0.0.1:8100", "secret": "whsec_…"}}
    providers: Annotated[dict[Annotated[str, Field(pattern=PROVIDER_PATTERN)], ProviderSettings], *Parsed] = (
        Field(default_factory=dict)
    )
    signing_key: SecretStr | None = None
    # JSON, by name: {"west": {"url": "https://west.example.com", "verifier_key": "tallystick/…", "api_key": "tk_…"}}
    witnessed: Annotated[dict[LogName, WitnessedSettings], *Parsed] = Field(
        default_factory=dict, max_length=MAX_WITNESSED
    )
    # How often the checkpoints of other installations are looked at. 0: never.
    witness_seconds: float = Field(DEFAULT_PERIOD_SECONDS, ge=0, le=86_400)
    # The origins whose pages may call from a browser, separated by commas; * for all. None by default.
    cors_origins: str = ""
    # Show figures of the books in /metrics and /readyz?verbose to callers without a key.
    public_metrics: bool = False
    # How far this machine's clock and the database's may differ. Beyond that, this process writes nothing.
    max_clock_difference_seconds: float = Field(MAX_CLOCK_DIFFERENCE_SECONDS, gt=0, allow_inf_nan=False)

    # Only read, from a hot standby or a primary. Whatever must be asked of the primary is refused, or passed on.
    read_only: bool = False
    # The address at which the primary's service is reached: told to callers, and where `forward` passes requests on.
    primary_url: Annotated[str, AfterValidator(_is_address)] = ""
    forward: bool = False
    # How far the copy may be behind the primary before the service calls itself not ready. None: it does not matter.
    max_replay_lag_seconds: float | None = Field(None, gt=0, allow_inf_nan=False)

    # The service's address as seen from outside. It becomes the `source` of published events.
    public_url: Annotated[str, AfterValidator(_is_address)] = ""
    # A NATS broker. Without one, nothing is published to NATS.
    nats_url: SecretStr | None = None
    nats_stream: str = Field(DEFAULT_STREAM, pattern=_STREAM_PATTERN)
    nats_subject: str = Field(DEFAULT_SUBJECT, pattern=_SUBJECT_PATTERN)
    # The broker's monitoring page, which alone says whether it syncs each message. Only the doctor asks it.
    nats_monitoring_url: str = ""
    # Words for a backup that PostgreSQL does not show, such as its provider's own. The doctor then asks for no archive.
    backed_up_by: str = ""
    webhook_allow_private: bool = False
    webhook_allow_http: bool = False
    webhook_timeout_seconds: float = Field(TIMEOUT_SECONDS, gt=0, le=60)
    # Between the first attempt and the second; the later waits grow with it.
    webhook_first_wait_seconds: float = Field(FIRST_WAIT_SECONDS, gt=0, le=60)
    webhook_disable_after_seconds: float = Field(DISABLE_AFTER_SECONDS, gt=0)

    @field_validator("bootstrap_key")
    @classmethod
    def _is_long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        if key is None:
            return None
        text = key.get_secret_value()
        if len(text) < MIN_BOOTSTRAP_KEY_LENGTH:
            raise ValueError(f"must have at least {MIN_BOOTSTRAP_KEY_LENGTH} characters")
        if not all("!" <= character <= "~" for character in text):
            raise ValueError("must consist of visible ASCII characters, since it is sent in a header")
        return key

    @field_validator("providers")
    @classmethod
    def _leave_bridges_alone(cls, providers: dict[str, ProviderSettings]) -> dict[str, ProviderSettings]:
        if BRIDGE in providers:
            raise ValueError(
                f"{BRIDGE} is the provider of transfers between ledgers: give yours another name"
            )
        return providers

    @field_validator("forward")
    @classmethod
    def _has_an_address(cls, forward: bool, info: ValidationInfo) -> bool:
        # An address that is wrong was refused already, and is not in the data.
        if forward and not info.data.get("primary_url", "?"):
            raise ValueError("needs TALLYSTICK_PRIMARY_URL, the address to pass requests on to")
        return forward

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: str) -> str:
        listed = _listed(origins)
        if listed != ["*"] and not all(_ORIGIN.fullmatch(origin) for origin in listed):
            raise ValueError(
                "must be origins as browsers send them, such as https://books.example.com: in lower case, without a"
                " path or the usual port, separated by commas; or * alone"
            )
        return origins

    @field_validator("signing_key")
    @classmethod
    def _has_seeds(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not all(len(seed) == SEED_BYTES for seed in _seeds(key)):
            raise ValueError(f"must be {SEED_BYTES} bytes in base64; several are separated by commas")
        return key

    @model_validator(mode="after")
    def _has_each_installation_once(self) -> "Settings":
        places = [_place_of(installation) for installation in self.placed("")]
        for number, place in enumerate(places):
            if (first := places.index(place)) != number:
                names = list(self.installations)
                raise ValueError(
                    f"{names[first]} and {names[number]} are the same schema of the same database"
                )
        if both := sorted(self.installations.keys() & self.witnessed.keys()):
            raise ValueError(f"{both[0]} is the name of an installation and of a witnessed service")
        return self

    @model_validator(mode="after")
    def _has_a_stream_for_each_installation(self) -> "Settings":
        """No stream may have the events of two installations, and a broker refuses two streams that share a subject."""
        if self.nats_url is None:
            return self
        streams = {name: self.stream_of(name) for name in self.installations}
        for name, stream in streams.items():
            if len(stream.name) > _MAX_STREAM_LENGTH:
                raise ValueError(f"the NATS stream of {name} has too long a name: give it a nats_stream")
        for (one, of_one), (other, of_other) in itertools.combinations(streams.items(), 2):
            if of_one.name == of_other.name or _overlap(of_one.subject, of_other.subject):
                raise ValueError(
                    f"{one} and {other} would share a NATS stream or its subjects: give each its own nats_stream"
                    " and nats_subject"
                )
        return self

    def stream_of(self, installation: str) -> StreamNames:
        """Return what an installation's NATS stream is called. If it is not said, others than home add their name."""
        given = self.installations.get(installation, InstallationSettings())
        is_home = not self.installations or installation == next(iter(self.installations))
        suffix = "" if is_home else f"-{installation}"
        return StreamNames(
            given.nats_stream or f"{self.nats_stream}{suffix}",
            given.nats_subject or f"{self.nats_subject}{suffix}",
        )

    @property
    def is_placement(self) -> bool:
        """Whether the service has a map of ledgers, as it does once installations are named, even a single one."""
        return bool(self.installations)

    @property
    def given_of_replicas(self) -> list[str]:
        """The settings that are given and mean nothing unless the service only reads, as the environment calls them."""
        given = {
            "TALLYSTICK_PRIMARY_URL": bool(self.primary_url),
            "TALLYSTICK_FORWARD": self.forward,
            "TALLYSTICK_MAX_REPLAY_LAG_SECONDS": self.max_replay_lag_seconds is not None,
        }
        return [name for name, is_given in given.items() if is_given]

    @property
    def projectors_each(self) -> int:
        """How many projectors each installation has. Unless it is configured, all have about the usual number."""
        if "projectors" in self.model_fields_set or not self.is_placement:
            return self.projectors
        return max(1, self.projectors // len(self.installations))

    @property
    def needs_embedded(self) -> bool:
        """Whether an installation has no database but the embedded one."""
        given = [named.database_url for named in self.installations.values()] or [None]
        return self.database_url is None and None in given

    def placed(self, embedded_url: str | None = None) -> Sequence[Installation]:
        """Return the installations of the service, home first. Without a placement, the only one is called `main`.

        `embedded_url` is that of the embedded database. Raises `ValueError` if an installation has no URL.
        """
        usual_url = self.database_url if self.database_url is not None else embedded_url
        if not self.installations:
            return (Installation(MAIN, self._database(usual_url, self.schema_)),)
        return tuple(
            Installation(name, self._database(given.database_url or usual_url, given.schema_ or self.schema_))
            for name, given in self.installations.items()
        )

    def _database(self, url: str | None, schema: str) -> Database:
        if url is None:
            raise ValueError("TALLYSTICK_DATABASE_URL is not set")
        return (ReadOnlyDatabase if self.read_only else Database)(url, schema)

    @property
    def allowed_origins(self) -> list[str]:
        """The origins whose pages may call from a browser: none by default, `*` for every one."""
        return _listed(self.cors_origins)

    @property
    def signing_seeds(self) -> list[bytes]:
        """The seeds of the keys that sign checkpoints, the current one first. Empty if a key is to be made."""
        return _seeds(self.signing_key) if self.signing_key else []

    @property
    def database(self) -> Database:
        """The database of the service, home's in a placement. Raises `ValueError` if no URL is set."""
        return self.placed()[0].database

    @property
    def publishing(self) -> Publishing:
        """Where webhooks may send, and when deliveries are tried again."""
        return Publishing(
            policy=Policy(allow_private=self.webhook_allow_private, allow_http=self.webhook_allow_http),
            timeout_seconds=self.webhook_timeout_seconds,
            first_wait_seconds=self.webhook_first_wait_seconds,
            disable_after_seconds=self.webhook_disable_after_seconds,
            public_url=self.public_url,
        )

    @property
    def streaming(self) -> Streaming | None:
        """The NATS stream to publish to, None if no broker is configured."""
        if self.nats_url is None:
            return None
        url = self.nats_url.get_secret_value()
        return Streaming(url, self.nats_stream, self.nats_subject, self.public_url)


def _place_of(installation: Installation) -> tuple[object, ...]:
    """Return what tells the place of an installation from others, however its URL is spelt."""
    url, schema = installation.database
    try:
        given = conninfo_to_dict(url)
    except ProgrammingError:
        return url, schema
    server = [given.get(name) for name in ("service", "host", "hostaddr", "port", "dbname")]
    return *(str(part or "") for part in server), schema


def _overlap(one: str, other: str) -> bool:
    """Tell whether two first parts of subjects are the same, or one of them begins the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _seeds(key: SecretStr) -> list[bytes]:
    try:
        return [b64decode(part, validate=True) for part in key.get_secret_value().split(",")]
    except binascii.Error:
        raise ValueError("is not base64") from None
