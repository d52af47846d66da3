"""Projections: their versions, the processes that advance them, rebuilds and dead letters."""

from collections.abc import Mapping

from scripts.doctor.catalogue.kind import Kind

_START_PROJECTOR = (
    "Start `tallystick serve`. If it runs with --no-projector, start `tallystick project` beside it."
)

KINDS: Mapping[str, Kind] = {
    "projection_missing": Kind(
        "error",
        "Its lists cannot be read.",
        _START_PROJECTOR + " It installs missing projections.",
        ("tallystick serve",),
    ),
    "projection_tables_missing": Kind(
        "error",
        "Its lists can be neither read nor advanced.",
        "Rebuild it from the journal. The old tables are gone, so there is nothing to compare it with.",
        ("tallystick replay accept {names} --reason 'its tables were dropped'",),
    ),
    "projection_beyond_head": Kind(
        "error",
        "It has read events that the journal does not have: the journal lost some, or was replaced by"
        " another one.",
        "Find out whether the database was restored from an older backup. If the journal is right, rebuild"
        " the projection, which shows what differs.",
        ("tallystick replay {names}",),
    ),
    "projection_halted": Kind(
        "error",
        "Its lists stand still, and their answers say so.",
        "Mend what its error says, then resume it. If it needs a newer release, start that release, and it"
        " continues by itself. If its tables are wrong, rebuild it.",
        (
            "tallystick projections resume {name}",
            "tallystick replay {name}",
        ),
    ),
    "projection_failing": Kind(
        "error",
        "Its lists stand still: the process that advances it fails, and tries again every few seconds.",
        "Mend what its error says, and it continues by itself. Another projector would fail as well. If"
        " its tables are wrong, rebuild it.",
        ("tallystick replay {name}",),
    ),
    "projection_paused": Kind(
        "warning",
        "Its lists stand still until it is resumed.",
        "Resume it when the reason for the pause is gone.",
        ("tallystick projections resume {name}",),
    ),
    "projection_stuck": Kind(
        "error",
        "The process that holds its place does nothing, and its lists fall behind.",
        "Restart the process that has its place; the finding names its session. Another projector beside it"
        " would only wait for the place. `tallystick serve` starts a new projector when its own has ended."
        " The command below ends that session, which frees the place.",
        ("tallystick projections restart {name}",),
    ),
    "projection_blocked": Kind(
        "error",
        "The process that advances it waits for a lock of another session, and its lists fall behind.",
        "Find the owner of that session, and end the session. Restarting the projector does not help.",
        ("SELECT pg_terminate_backend({pid});",),
    ),
    "projector_absent": Kind(
        "error",
        "No process advances it, and its lists fall behind.",
        _START_PROJECTOR,
        ("tallystick serve",),
    ),
    "projection_lagging": Kind(
        "warning",
        "Its lists are late, and are catching up.",
        "Wait. If it happens often, check the load of the machine.",
    ),
    "projection_of_another_release": Kind(
        "warning", "This release neither reads nor compares it.", "Finish the deployment or the rollback."
    ),
    "projection_retired_left": Kind(
        "info",
        "The version that a rebuild replaced is kept, so that you can look at it. It takes up space.",
        "You need not do anything: the next rebuild drops it. Or drop it now.",
        ("tallystick replay drop-retired {names}",),
    ),
    "projection_differs": Kind(
        "error",
        "Its lists contradict the journal.",
        "Rebuild it. The differences are shown before anything is replaced.",
        ("tallystick replay {name}",),
    ),
    "projection_unbalanced": Kind(
        "error",
        "Its sums contradict the journal.",
        "Rebuild it. The differences are shown before anything is replaced.",
        ("tallystick replay {name}",),
    ),
    "rebuild_unfinished": Kind(
        "warning",
        "No process works on it, and its tables take up space.",
        "Continue it, or drop it.",
        (
            "tallystick replay {name}",
            "tallystick replay cancel {name}",
        ),
    ),
    "rebuild_refused": Kind(
        "warning",
        "The rebuilt version cannot replace the live one: the rebuild failed, or the two differ.",
        "Find out why. Then rebuild again, or switch to the new version although it differs, or drop it.",
        (
            "tallystick replay {name}",
            "tallystick replay accept {name} --reason 'WHY'",
            "tallystick replay cancel {name}",
        ),
    ),
    "dead_letters_open": Kind(
        "error",
        "The lists lack these events, and all later ones of their streams.",
        "Mend what made the event fail, then retry it. Or discard it, with a reason.",
        (
            "tallystick dead-letters show {id}",
            "tallystick dead-letters retry {id}",
            "tallystick dead-letters discard {id} --reason 'WHY'",
        ),
    ),
}
