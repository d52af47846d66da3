"""Callbacks of providers: requests."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class CallbackRequest(BaseModel):
    """The payload of a callback, as Standard Webhooks recommends it. The provider decides what `data` holds."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    type: str = Field(max_length=255, examples=["payout.completed"])
    timestamp: str | None = None
    data: dict[str, Any]
