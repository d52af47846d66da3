"""Which providers are configured: their settings, and the adapters made from them."""

import base64
import binascii
from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Annotated, Protocol

from pydantic import AfterValidator, AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr

from projections.process_managers.providers.interface import Provider

SECRET_PREFIX = "whsec_"
MIN_SECRET_BYTES = 24
HTTP_ADAPTER = "projections.process_managers.providers.http:HttpProvider"


def _is_there(adapter: str) -> str:
    try:
        resolve_name(adapter)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot be imported: {error}") from None
    return adapter


def _is_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    try:
        length = len(base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True))
    except (binascii.Error, ValueError):
        length = 0
    if not text.startswith(SECRET_PREFIX) or length < MIN_SECRET_BYTES:
        raise ValueError(f"must be {SECRET_PREFIX} and the base64 of at least {MIN_SECRET_BYTES} bytes")
    return secret


class ProviderSettings(BaseModel):
    """How a provider is reached.

    `secret` verifies the provider's callbacks as in Standard Webhooks. `api_key` is sent to it as a bearer token. A
    call ends after `timeout_seconds`. `max_connections` limits the calls that run at once. `adapter` is the class that
    makes the calls.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: AnyHttpUrl
    secret: Annotated[SecretStr, AfterValidator(_is_secret)]
    api_key: SecretStr | None = None
    timeout_seconds: float = Field(10.0, ge=0.1, le=60.0)
    max_connections: int = Field(8, ge=1, le=100)
    adapter: Annotated[str, AfterValidator(_is_there)] = Field(
        HTTP_ADAPTER, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
    )


class MakeProvider(Protocol):
    """An adapter's class."""

    def __call__(self, settings: ProviderSettings) -> Provider:
        """Return the provider that the settings describe."""


def make_providers(settings: Mapping[str, ProviderSettings]) -> dict[str, Provider]:
    """Return the providers by name."""
    providers: dict[str, Provider] = {}
    for name, of in settings.items():
        make: MakeProvider = resolve_name(of.adapter)
        providers[name] = make(of)
    return providers
