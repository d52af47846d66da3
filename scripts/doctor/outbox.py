"""What is told to others: which webhooks are disabled, which deliveries were given up, and whether anybody delivers."""

from collections.abc import Iterator

from scripts.doctor.catalogue import Finding
from scripts.doctor.examination import Patient, examples


def deliveries(patient: Patient) -> Iterator[Finding]:
    """Look for webhooks that get nothing, or not all."""
    if not patient.value("has_table", table="webhooks"):
        return
    if disabled := patient.rows("disabled_webhooks"):
        words = [f"{id} to {url}: {reason}" for id, url, reason in disabled]
        yield Finding("webhook_disabled", f"{len(disabled)} webhooks are disabled", examples(words))
    if failed := patient.rows("failed_deliveries"):
        words = [
            f"{count} to {id}, the first of event {position}: {why}" for id, count, position, why in failed
        ]
        yield Finding("deliveries_failed", "deliveries were given up", examples(words))
    if late := patient.rows("late_deliveries", lag_seconds=patient.limits.lag_seconds):
        words = [f"{id}, since {seconds:.0f} s" for id, seconds in late]
        code = "deliveries_late" if patient.value("has_publisher") else "publisher_absent"
        yield Finding(code, f"{len(late)} webhooks wait for deliveries that are due", examples(words))
