"""Which services of other owners are witnessed, and how often any log is looked at."""

from typing import Annotated

from pydantic import AfterValidator, AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr

from domain.model.installation.checkpoints import NAME_PATTERN
from domain.transparency.signed_notes import InvalidNote, Verifier

DEFAULT_PERIOD_SECONDS = 60.0

LogName = Annotated[str, Field(pattern=NAME_PATTERN)]


def _is_key(vkey: str) -> str:
    try:
        return str(Verifier.parse(vkey))
    except InvalidNote as error:
        raise ValueError(str(error)) from None


class WitnessedSettings(BaseModel):
    """How a service is reached whose checkpoints are witnessed.

    `verifier_key` is its key; without it the first key that is seen is trusted. `api_key` is a key of that service
    with the role `auditor`. A look ends after `timeout_seconds`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: AnyHttpUrl
    verifier_key: Annotated[str, AfterValidator(_is_key)] | None = None
    api_key: SecretStr | None = None
    timeout_seconds: float = Field(10.0, ge=0.1, le=60.0)
