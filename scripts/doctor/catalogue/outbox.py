"""Deliveries to webhooks and NATS, and the processes that make them."""

from collections.abc import Mapping

from scripts.doctor.catalogue.kind import Kind

KINDS: Mapping[str, Kind] = {
    "nats_publisher_absent": Kind(
        "error",
        "No process publishes to NATS, and its stream falls behind.",
        "Start `tallystick serve` or `tallystick publish` with TALLYSTICK_NATS_URL set. If nobody"
        " wants the stream, pause it.",
        ("tallystick projections pause nats",),
    ),
    "nats_failing": Kind(
        "error",
        "Its stream stands still: the process that publishes to NATS fails, and tries again every few seconds.",
        "Read the error, and check that the broker runs and that TALLYSTICK_NATS_URL leads to it. It then"
        " continues by itself.",
    ),
    "webhook_disabled": Kind(
        "warning",
        "It gets no events; its deliveries wait.",
        "Mend its receiver, then enable it. If nobody wants it, delete it (DELETE /v1/webhooks/ID).",
        ("tallystick webhooks enable {id}",),
    ),
    "deliveries_failed": Kind(
        "warning",
        "Later events of the same account or transaction wait behind them.",
        "Mend the receiver, then retry them all. Discard those that it must not get (`tallystick"
        " webhooks discard`).",
        (
            "tallystick webhooks deliveries {id} --state failed",
            "tallystick webhooks retry {id} --failed",
        ),
    ),
    "deliveries_late": Kind(
        "warning",
        "Receivers get events late.",
        "Read the attempts, and the publisher's log.",
        ("tallystick webhooks deliveries {id} --state pending",),
    ),
    "publisher_absent": Kind(
        "error",
        "No process delivers webhooks.",
        "Start `tallystick serve`. If it runs with --no-projector, start `tallystick publish` beside it.",
        ("tallystick serve",),
    ),
    "nats_unsynced": Kind(
        "warning",
        "After a power failure the broker lacks messages that it acknowledged. The publisher sends them again from the"
        " journal, and consumers may get them twice.",
        "Set `sync_interval: always` in the block `jetstream` of its configuration, and restart it. Or let consumers"
        " drop messages whose id they know.",
    ),
    "nats_unreachable": Kind(
        "warning",
        "Nothing is published to NATS until it answers.",
        "Check that the broker runs, and that TALLYSTICK_NATS_URL leads to it.",
    ),
}
