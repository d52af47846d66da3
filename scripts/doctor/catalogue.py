"""The catalogue of findings: each code with its severity, why it matters and what to do. Codes never change."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Severity = Literal["error", "warning"]
"""An error endangers money, history or answers, now; a warning will become one, or needs an operator's eye."""


class Kind(NamedTuple):
    """What all findings of a code have in common."""

    severity: Severity
    why: str
    remedy: str


_REPLAY = "Run `tallystick replay NAME`; what differs is shown before anything is replaced."
_TAMPERED = (
    "No release writes this: somebody with more rights than the service has changed the journal, or the disk has. Stop"
    " writing, keep the database as it is, and compare it with a backup and with exported copies."
)

CATALOGUE: Mapping[str, Kind] = {
    # The examination itself.
    "database_unreachable": Kind(
        "error", "Nothing can be written or read.", "See that PostgreSQL runs and that the URL is right."
    ),
    "check_failed": Kind(
        "warning",
        "What it would have found is not known.",
        "See the error; run `tallystick migrate` if it is behind.",
    ),
    "check_unfinished": Kind(
        "warning", "What it would have found is not known.", "Give it more time with --timeout-seconds."
    ),
    # The installation.
    "schema_missing": Kind(
        "error",
        "There is no installation in this schema.",
        "Run `tallystick migrate`, or name another --schema.",
    ),
    "migrations_pending": Kind(
        "error", "This release needs them, and does not serve without.", "Run `tallystick migrate`."
    ),
    "migrations_newer": Kind(
        "warning",
        "A newer release has been here; what it wrote this one may refuse to touch.",
        "Finish the deployment of the newer release, or its rollback.",
    ),
    "postgres_unsupported": Kind(
        "error", "It is neither tested nor known to work.", "Use PostgreSQL 16 or newer."
    ),
    "index_invalid": Kind(
        "error",
        "Uniqueness or speed that is relied on is not there.",
        "Run REINDEX on the index, as its owner.",
    ),
    # The journal's protection.
    "journal_unprotected": Kind(
        "error",
        "History could be rewritten, or the head moved back, without an error.",
        "Find out who did this, then ALTER TABLE … ENABLE TRIGGER, or make the trigger again as its migration does.",
    ),
    "service_may_rewrite": Kind(
        "error",
        "A fault or an intruder in the service could rewrite history.",
        "REVOKE these rights from the service's role, and see that it is no superuser and owns no table.",
    ),
    "service_has_login_rights": Kind(
        "warning",
        "The service works with the rights of the login that migrated: only triggers protect the journal from it.",
        "Let a login that may create roles run `tallystick migrate`, so that tallystick_service is made.",
    ),
    "temporary_tables_open": Kind(
        "warning",
        "Who breaks into the service may make tables that hide others from whoever does not say which schema he means.",
        "Run the statement that the finding names as the owner of the database, or `tallystick migrate` as that owner.",
    ),
    "function_unpinned": Kind(
        "error",
        "Whoever calls it decides which tables and functions it means: a guard could be led elsewhere.",
        "Run `tallystick migrate` as the owner of the schema, and find out who made the function.",
    ),
    # The server.
    "fsync_off": Kind("error", "A power failure loses what was acknowledged.", "Set fsync = on."),
    "full_page_writes_off": Kind(
        "error",
        "A power failure can leave torn pages, and with them wrong data.",
        "Set full_page_writes = on.",
    ),
    "autovacuum_off": Kind("warning", "Plans go stale and transaction ids run out.", "Set autovacuum = on."),
    "disk_full_soon": Kind(
        "error", "A full disk stops all writing.", "Make room or add some: the journal only grows."
    ),
    "connections_exhausted_soon": Kind(
        "warning",
        "Beyond the limit the service cannot reconnect.",
        "Raise max_connections, or find who holds so many: each API process needs about 15.",
    ),
    "session_blocking": Kind(
        "error",
        "It holds a lock that the service needs: requests are answered 503 `journal_unavailable`, reason `locked`, or"
        " projections stand still.",
        "Find out what it does; then end it by the command given. What it has not committed is undone, and whoever"
        " waits for it goes on at once.",
    ),
    "session_idle_in_transaction": Kind(
        "warning",
        "It keeps vacuum from removing old rows, and may hold locks.",
        "Find its owner and end it: SELECT pg_terminate_backend(pid).",
    ),
    "transaction_long_running": Kind(
        "warning",
        "It keeps vacuum from removing old rows, and may hold locks.",
        "Find out what it does; if nothing needs it: SELECT pg_cancel_backend(pid).",
    ),
    "transaction_prepared": Kind(
        "warning",
        "Nobody ends it by itself; it holds its locks and keeps vacuum from removing old rows.",
        "COMMIT PREPARED or ROLLBACK PREPARED it. Tallystick prepares none.",
    ),
    "slot_inactive": Kind(
        "warning",
        "It keeps the write-ahead log for ever, until the disk is full.",
        "Reconnect its reader, or drop it.",
    ),
    "wraparound_near": Kind(
        "error",
        "When transaction ids run out, PostgreSQL refuses all writes.",
        "Find what holds vacuum back (the warnings about sessions and slots), then run VACUUM FREEZE.",
    ),
    "table_never_analysed": Kind(
        "warning",
        "Queries are planned as if it were empty.",
        "Run ANALYZE on it, and see that autovacuum runs.",
    ),
    # Clocks.
    "clock_skewed": Kind(
        "warning",
        "Expiries and recorded times follow the machines' clocks. A server whose clock differs from the database's by"
        " more than TALLYSTICK_MAX_CLOCK_DIFFERENCE_SECONDS records nothing, and answers 503 with the reason `clock`.",
        "Let NTP set the clocks of this machine and of the database's: `timedatectl set-ntp true` on both. A server"
        " goes on by itself once its clock is right.",
    ),
    "recorded_in_future": Kind(
        "error",
        "Recorded time never runs back: until the clocks have caught up, all that is recorded gets this time, and holds"
        " expire early.",
        "See that the database's clock is right, and the clock of the machine that wrote it. What is recorded stays:"
        " wait until that time; or, if it is far, restore a backup from before it, or `tallystick export FILE --to` the"
        " last position with a right time and `tallystick import FILE` into an empty database.",
    ),
    # Projections.
    "projection_missing": Kind(
        "error", "Its lists cannot be read.", "Start `tallystick serve` or `project`, which install it."
    ),
    "projection_tables_missing": Kind("error", "Its lists cannot be read, nor advanced.", _REPLAY),
    "projection_beyond_head": Kind(
        "error",
        "It has read events that the journal does not have: the journal lost some, or another was put in its place.",
        "Find out whether the database was restored from an older backup. If the journal is right, replay it.",
    ),
    "projection_halted": Kind(
        "error",
        "Its lists stand still, and say so.",
        "See the error. If it needs a newer release, start that, and it goes on; else mend what caused it. "
        + _REPLAY,
    ),
    "projection_paused": Kind(
        "warning",
        "Its lists stand still until it is resumed.",
        "Resume it when what it was paused for is done.",
    ),
    "projection_stuck": Kind(
        "error",
        "A projector is connected and its lists fall behind.",
        "See its log, and whether a session blocks it.",
    ),
    "projector_absent": Kind(
        "error",
        "Nobody advances it, and its lists fall behind.",
        "Start `tallystick serve`, or `tallystick project`.",
    ),
    "projection_lagging": Kind(
        "warning",
        "Its lists are late, and catch up.",
        "Wait; if it happens often, see the load of the machine.",
    ),
    "projection_of_another_release": Kind(
        "warning", "This release neither reads nor compares it.", "Finish the deployment or the rollback."
    ),
    "projection_retired_left": Kind(
        "warning",
        "Its tables take up room.",
        "Restart the projector, which drops them once nobody reads them.",
    ),
    "projection_differs": Kind("error", "Its lists show what the journal does not say.", _REPLAY),
    "projection_unbalanced": Kind("error", "Its sums show what the journal does not say.", _REPLAY),
    "webhook_disabled": Kind(
        "warning",
        "It is told nothing; what is owed to it waits.",
        "Mend its receiver, then POST /v1/webhooks/{id}/enable; delete it if nobody wants it.",
    ),
    "deliveries_failed": Kind(
        "warning",
        "What comes after them on the same account or transaction waits behind them.",
        "See GET /v1/webhooks/{id}/deliveries?state=failed; then retry or discard each.",
    ),
    "deliveries_late": Kind(
        "warning", "Receivers are told late.", "See the publisher's log, and how long receivers take."
    ),
    "publisher_absent": Kind(
        "error", "Nobody delivers webhooks.", "Start `tallystick serve`, or `tallystick publish`."
    ),
    "rebuild_unfinished": Kind(
        "warning",
        "Nobody works on it, and its tables take up room.",
        "Run the replay again, or with --discard.",
    ),
    "rebuild_refused": Kind(
        "warning",
        "What was rebuilt differs from what is read: one of the two is wrong.",
        "See the comparison; replay again, accept the difference with a reason, or --discard.",
    ),
    "dead_letters_open": Kind(
        "error",
        "The lists lack these events, and all later ones of their streams.",
        "See GET /v1/dead-letters; retry them once the cause is mended, or discard them with a reason.",
    ),
    # What the ledger has to do by itself.
    "hold_not_released": Kind(
        "error",
        "Its amounts stay pending although its time is over.",
        "See that an API process runs, whose worker releases it, and that the projection `due` keeps up.",
    ),
    "request_not_carried_out": Kind(
        "error",
        "It was accepted, and who asked waits for it.",
        "See that an API process runs, whose worker carries it out, and that the projection `due` keeps up.",
    ),
    "snapshot_differs": Kind(
        "error",
        "Accounts are loaded from it: decisions and answers may be wrong.",
        "DELETE it from `snapshots` and restart the API processes; events alone are the truth.",
    ),
    # The journal.
    "journal_head_wrong": Kind("error", "The next position would leave a gap, or be taken.", _TAMPERED),
    "journal_position_gap": Kind("error", "Events are missing; projections halt there.", _TAMPERED),
    "journal_version_gap": Kind("error", "Events of a stream are missing.", _TAMPERED),
    "journal_time_reversed": Kind("error", "Recorded time must never run against positions.", _TAMPERED),
    "journal_event_unreadable": Kind(
        "error",
        "Neither aggregates nor projections can go on from it.",
        f"A newer release may read it. {_TAMPERED}",
    ),
    "journal_event_misplaced": Kind("error", "No history can go so.", _TAMPERED),
    "journal_account_not_open": Kind("error", "An account took part in what it must not.", _TAMPERED),
    "journal_amount_out_of_range": Kind("error", "A total left its range.", _TAMPERED),
    "journal_limit_broken": Kind("error", "An account went beyond its limits.", _TAMPERED),
    "journal_totals_unbalanced": Kind("error", "Money came from nowhere, or went there.", _TAMPERED),
    "journal_transaction_unbalanced": Kind("error", "Money came from nowhere, or went there.", _TAMPERED),
    "journal_entries_unmatched": Kind(
        "error", "What accounts and transactions say of each other must match, as two halves.", _TAMPERED
    ),
    "journal_balance_after_wrong": Kind("error", "A statement would show a wrong balance.", _TAMPERED),
    "journal_key_mismatch": Kind("error", "A request could be carried out twice.", _TAMPERED),
    "journal_hold_misused": Kind("error", "A hold ended as it must not.", _TAMPERED),
    "journal_payout_unmatched": Kind(
        "error", "What a payout says of its money is not what a transaction has booked.", _TAMPERED
    ),
    "journal_settlement_exceeds_hold": Kind("error", "More was settled than held.", _TAMPERED),
    "journal_reversal_exceeds_original": Kind("error", "More was reversed than posted.", _TAMPERED),
    "journal_asset_conflict": Kind("error", "Amounts of different scales would be added up.", _TAMPERED),
    "journal_key_reused": Kind("error", "A request was carried out twice.", _TAMPERED),
    # An export, and what was signed of the journal.
    "export_malformed": Kind(
        "error", "The line says nothing that can be relied on.", f"Export again; if it persists: {_TAMPERED}"
    ),
    "export_incomplete": Kind("error", "Events are missing.", f"Export again; if it persists: {_TAMPERED}"),
    "event_altered": Kind("error", "The event is not the one that was sealed at its position.", _TAMPERED),
    "root_mismatch": Kind(
        "error", "The events are not those that the file was made of.", "The file was changed: export again."
    ),
    "checkpoint_mismatch": Kind("error", "The events are not those that were signed.", _TAMPERED),
    "history_rewritten": Kind("error", "The journal says something else than it once did.", _TAMPERED),
    "signature_invalid": Kind(
        "error",
        "Nobody who is known has signed this.",
        "Give the right key with --verifier-key; if it is the right one, what was signed was changed.",
    ),
    "checkpoint_malformed": Kind(
        "error",
        "It is no checkpoint, so nothing can be held against it.",
        "Give the note as GET /v1/audit/checkpoint serves it, in a file of its own.",
    ),
    "checkpoint_missing": Kind(
        "warning",
        "Nothing shows that these are the events that were recorded.",
        "Let a projector run, which seals the journal, and export again.",
    ),
    "checkpoint_incomparable": Kind(
        "warning",
        "Whether the events go on from it is not known.",
        "Export from the first position, up to the newest.",
    ),
    "events_unsealed": Kind(
        "warning",
        "Of these, nothing shows that they are the events that were recorded.",
        "Export again when they are sealed: within a second where a projector runs.",
    ),
    "beginning_absent": Kind(
        "warning",
        "Without the beginning the rules of a ledger cannot be judged; signatures and gaps were.",
        "Export from the first position.",
    ),
}


class Finding(NamedTuple):
    """Something that is wrong: its code, what was found, and examples, of which there may be more."""

    code: str
    found: str
    examples: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """Its severity, why it matters, what to do."""
        return CATALOGUE[self.code]
