"""How long properties are looked for: `HYPOTHESIS_PROFILE=nightly` looks longer, the default is for every change."""

import os

from hypothesis import HealthCheck, settings

# No deadlines: a timing never decides a test.
settings.register_profile("short", max_examples=80, stateful_step_count=40, deadline=None)
settings.register_profile("nightly", max_examples=2000, stateful_step_count=50, deadline=None)
settings.register_profile("short on a database", max_examples=15, stateful_step_count=20, deadline=None)
settings.register_profile("nightly on a database", max_examples=2000, stateful_step_count=30, deadline=None)

CHOSEN = os.environ.get("HYPOTHESIS_PROFILE", "short")


def in_memory() -> settings:
    """The settings of properties that need nothing but memory."""
    return settings.get_profile(CHOSEN)


def on_a_database() -> settings:
    """The settings of properties whose every step commits; too slow for shrinking to be told apart from hanging."""
    profile = settings.get_profile(f"{CHOSEN} on a database")
    return settings(profile, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
