"""Checks of deliveries: which webhooks are disabled, which deliveries were given up, and whether a publisher runs."""

import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2

from projections.read_models.outbox import PROJECTION
from projections.running.places import Place, holders, is_standby
from scripts.doctor.examination import MAX_SUBJECTS, Patient, examples
from scripts.doctor.finding import Finding

NATS_PORT = 4222
MONITORING = "TALLYSTICK_NATS_MONITORING_URL"
BROKER_TIMEOUT_SECONDS = 2.0
PUBLISHER: Place = ("publish", PROJECTION.name)


def deliveries(patient: Patient) -> Iterator[Finding]:
    """Look for webhooks that get no events, or not all of them."""
    if not patient.value("has_table", table="webhooks"):
        return
    if disabled := patient.rows("disabled_webhooks"):
        words = [f"{id} to {url}: {reason}" for id, url, reason in disabled]
        subjects = _subjects(disabled)
        yield Finding("webhook_disabled", f"{len(disabled)} webhooks are disabled", examples(words), subjects)
    if failed := patient.rows("failed_deliveries"):
        words = [
            f"{count} to {id}, the first of event {position}: {why}" for id, count, position, why in failed
        ]
        yield Finding("deliveries_failed", "deliveries were given up", examples(words), _subjects(failed))
    if late := patient.rows("late_deliveries", lag_seconds=patient.limits.lag_seconds):
        words = [f"{id}, for {seconds:.0f} s" for id, seconds in late]
        # A standby shows no holder of a place.
        is_run = is_standby(patient.connection) or holders(patient.connection, [PUBLISHER])
        found = f"{len(late)} webhooks wait for due deliveries"
        yield Finding(
            "deliveries_late" if is_run else "publisher_absent", found, examples(words), _subjects(late)
        )


def broker(patient: Patient) -> Iterator[Finding]:
    """Check that NATS can be reached and keeps what it acknowledges, as far as it is configured here."""
    if monitoring := os.environ.get(MONITORING, ""):
        yield from _synced(monitoring.rstrip("/"))
    if not (url := os.environ.get("TALLYSTICK_NATS_URL", "")):
        return
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        host, port = parts.hostname or "localhost", parts.port or NATS_PORT
    except ValueError:  # its message would show the password
        yield Finding("nats_unreachable", "TALLYSTICK_NATS_URL is not a URL")
        return
    try:
        socket.create_connection((host, port), BROKER_TIMEOUT_SECONDS).close()
    except OSError as error:
        yield Finding("nats_unreachable", f"{host}:{port} does not answer: {error}")


def _synced(url: str) -> Iterator[Finding]:
    """Ask the broker's monitoring page whether each message is synced. The protocol of clients does not say."""
    try:
        with httpx2.Client(timeout=BROKER_TIMEOUT_SECONDS, trust_env=False) as client:
            config = client.get(f"{url}/jsz").raise_for_status().json()["config"]
            seconds, is_always = int(config["sync_interval"]) / 1e9, bool(config.get("sync_always"))
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError, TypeError) as error:
        words = f"{MONITORING} leads to no monitoring page of a broker with JetStream"
        yield Finding("nats_unreachable", f"{words}: {type(error).__name__}")
        return
    if not is_always:
        yield Finding(
            "nats_unsynced", f"the broker syncs its files every {seconds:g} s, and acknowledges before"
        )


def _subjects(rows: Sequence[tuple[Any, ...]]) -> tuple[dict[str, str], ...]:
    return tuple({"id": str(id)} for id, *_ in rows[:MAX_SUBJECTS])
