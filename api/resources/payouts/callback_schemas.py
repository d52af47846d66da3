"""Callbacks of providers, as they are sent."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class CallbackRequest(BaseModel):
    """The payload of a webhook as Standard Webhooks recommends it; what `data` holds is the provider's matter."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    type: str = Field(max_length=255, examples=["payout.completed"])
    timestamp: str | None = None
    data: dict[str, Any]
