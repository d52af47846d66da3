"""The operator's settings for delivering events."""

from typing import NamedTuple

from projections.outbox.destinations import Policy
from projections.outbox.schedule import FIRST_WAIT_SECONDS

TIMEOUT_SECONDS = 15.0
# Shorter than the schedule of one delivery, so a receiver that is down is disabled before a delivery is given up.
DISABLE_AFTER_SECONDS = 3 * 24 * 60 * 60.0

DEFAULT_STREAM = "TALLYSTICK"
DEFAULT_SUBJECT = "tallystick"


class Publishing(NamedTuple):
    """The operator's settings for webhooks.

    `timeout_seconds` applies to one attempt. A webhook that acknowledges nothing for `disable_after_seconds` is
    disabled. `public_url` is the service's public address, for the `source` of its events.
    """

    policy: Policy = Policy()
    timeout_seconds: float = TIMEOUT_SECONDS
    first_wait_seconds: float = FIRST_WAIT_SECONDS
    disable_after_seconds: float = DISABLE_AFTER_SECONDS
    public_url: str = ""


class Streaming(NamedTuple):
    """Where to publish to NATS: the broker's URL, the stream, and the prefix of subjects.

    `public_url` is the service's public address, for the `source` of its events.
    """

    url: str
    stream: str = DEFAULT_STREAM
    subject: str = DEFAULT_SUBJECT
    public_url: str = ""
