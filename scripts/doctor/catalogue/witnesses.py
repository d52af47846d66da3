"""What is witnessed of other installations."""

from collections.abc import Mapping

from scripts.doctor.catalogue.kind import Kind

KINDS: Mapping[str, Kind] = {
    "checkpoint_disputed": Kind(
        "error",
        "The other installation signed two histories: its owner rewrote the past, or it was restored to an earlier"
        " point. Nothing more of it is witnessed.",
        "Keep both notes, and ask the owner. Then say how it goes on: `keep` if the earlier history comes back,"
        " `accept` if the later one is explained.",
        (
            "tallystick witnesses show {name}",
            "tallystick witnesses keep {name} --reason 'what was found'",
            "tallystick witnesses accept {name} --reason 'what was found'",
        ),
    ),
    "witness_late": Kind(
        "warning",
        "What the other installation records meanwhile could be rewritten without a trace here.",
        "Check that a projector runs with TALLYSTICK_WITNESSED or TALLYSTICK_INSTALLATIONS set, and that the other"
        " installation answers: the finding has the error.",
        ("tallystick witnesses list", "tallystick witnesses leave {name}"),
    ),
}
