"""An exported file, and the signatures on the journal."""

from collections.abc import Mapping

from scripts.doctor.catalogue.kind import TAMPERED, Kind

KINDS: Mapping[str, Kind] = {
    "export_malformed": Kind(
        "error",
        "Nothing in this line can be trusted.",
        f"Export again. If it happens again, the journal was changed. {TAMPERED}",
    ),
    "export_incomplete": Kind(
        "error",
        "Events are missing.",
        f"Export again. If it happens again, the journal was changed. {TAMPERED}",
    ),
    "event_altered": Kind("error", "The event is not the one that was sealed at its position.", TAMPERED),
    "root_mismatch": Kind(
        "error", "The events are not those that were exported.", "The file was changed: export again."
    ),
    "checkpoint_mismatch": Kind("error", "The events are not those that were signed.", TAMPERED),
    "positions_altered": Kind(
        "error",
        "Positions of a ledger that arrived from another installation are not shown where they were: those that"
        " clients keep would lead to other events.",
        f"Export again. If it happens again, the table `position_ranges` was changed. {TAMPERED}",
    ),
    "events_missing": Kind(
        "error",
        "Acknowledged events are lost: the database was restored to an earlier point, or the journal was cut off.",
        "If it was restored, go on as scripts/BACKUP.md says: clients repeat their requests, and receivers are warned."
        f" If the file is an old export, export again. Otherwise: {TAMPERED}",
    ),
    "history_rewritten": Kind(
        "error",
        "The journal differs from what it said before.",
        "If the database was restored to an earlier point, every checkpoint of what was lost says so: go on as"
        f" scripts/BACKUP.md says. Otherwise: {TAMPERED}",
    ),
    "signature_invalid": Kind(
        "error",
        "No known key has signed this.",
        "Give the right key with --verifier-key. If you did, what was signed has been changed.",
    ),
    "checkpoint_malformed": Kind(
        "error",
        "It is not a checkpoint, so nothing can be checked against it.",
        "Give the note as GET /v1/audit/checkpoint serves it, in a file of its own.",
    ),
    "checkpoint_missing": Kind(
        "warning",
        "Nothing proves that these are the events that were recorded.",
        "Run a projector, which seals the journal, and export again.",
    ),
    "checkpoint_incomparable": Kind(
        "warning",
        "It is unknown whether the events continue from the checkpoint.",
        "Export from the first position, up to the newest.",
    ),
    "events_unsealed": Kind(
        "warning",
        "Nothing proves that these events are those that were recorded.",
        "Export again when they are sealed: a projector does so within a second.",
    ),
    "beginning_absent": Kind(
        "warning",
        "Signatures and gaps were checked. The rules of a ledger were not, since that needs the first event.",
        "Export from the first position.",
    ),
    "witness_contradicts": Kind(
        "error",
        "Another installation recorded what this journal said before, and it says something else: whoever owns it"
        " rewrote it, or it was restored to an earlier point.",
        "Keep both journals as they are. If it was restored, go on as scripts/BACKUP.md says. Otherwise compare the"
        " named range with an older export or backup of this journal.",
    ),
    "witness_unaware": Kind(
        "error",
        "Nothing in the witness's journal is about this one, so it shows nothing.",
        "Give a witness of this journal. If it was restored under another origin, give the key of the former one with"
        " --verifier-key.",
    ),
}
