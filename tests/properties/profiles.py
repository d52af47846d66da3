"""How long properties are tested: `HYPOTHESIS_PROFILE=nightly` takes longer, the default suits every change."""

import os

from hypothesis import HealthCheck, settings

# No deadlines: timing never decides a test.
settings.register_profile("short", max_examples=80, stateful_step_count=40, deadline=None)
settings.register_profile("nightly", max_examples=2000, stateful_step_count=50, deadline=None)
settings.register_profile("short on a database", max_examples=15, stateful_step_count=20, deadline=None)
# A step commits, so a history takes a second or two: 300 of them are the better part of an hour.
settings.register_profile("nightly on a database", max_examples=300, stateful_step_count=30, deadline=None)

CHOSEN = os.environ.get("HYPOTHESIS_PROFILE", "short")


def in_memory() -> settings:
    """The settings of properties that need only memory."""
    return settings.get_profile(CHOSEN)


def on_a_database() -> settings:
    """The settings of properties whose every step commits. Shrinking them would be too slow to tell from hanging."""
    profile = settings.get_profile(f"{CHOSEN} on a database")
    return settings(profile, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
