"""The catalogue of findings: each code with its severity, why it matters and what to do. Codes never change."""

from collections.abc import Iterator, Mapping
from string import Formatter
from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "info"]
"""An error endangers money, history or answers, now; a warning will become one, or needs an operator's eye; an info is
worth knowing, and nothing is wrong."""


class Kind(NamedTuple):
    """What all findings of a code have in common.

    `commands` are what to run, for a shell where they begin with `tallystick`, else for psql; a `{word}` in them stands
    for what the finding is about.
    """

    severity: Severity
    why: str
    remedy: str
    commands: tuple[str, ...] = ()


_TAMPERED = (
    "No release writes this: somebody with more rights than the service has changed the journal, or the disk has. Stop"
    " writing, keep the database as it is, and compare it with a backup and with exported copies."
)
_WHO_PROJECTS = "Start `tallystick serve` or, beside one that runs with --no-projector, `tallystick project`."

CATALOGUE: Mapping[str, Kind] = {
    # The examination itself.
    "database_unreachable": Kind(
        "error", "Nothing can be written or read.", "See that PostgreSQL runs and that the URL is right."
    ),
    "check_failed": Kind(
        "warning",
        "What it would have found is not known.",
        "See the error: something was changed by hand, or it is a fault of this program.",
    ),
    "check_unfinished": Kind(
        "warning",
        "What it would have found is not known.",
        "Give it more time.",
        ("tallystick doctor --timeout-seconds 600",),
    ),
    "rights_missing": Kind(
        "error",
        "What it would have found is not known, and the service may lack the right as well.",
        "Examine with the login that migrated, or give this one the rights of the service.",
        ("GRANT tallystick_service TO {login};",),
    ),
    "standby_examined": Kind(
        "info",
        "Who holds places, and which sessions there are, is seen on the primary alone.",
        "Examine the primary as well.",
    ),
    # The installation.
    "schema_closed": Kind(
        "error",
        "Nothing in it could be examined, and the service cannot use it either if it logs in so.",
        "Give the right back, as the owner of the schema.",
        ("GRANT USAGE ON SCHEMA {schema} TO {role};", "GRANT {role} TO {login};"),
    ),
    "schema_missing": Kind(
        "error",
        "There is no installation in this schema.",
        "Make one, or name another --schema.",
        ("tallystick migrate",),
    ),
    "migrations_pending": Kind(
        "error",
        "This release needs them, and does not serve without.",
        "Apply them.",
        ("tallystick migrate",),
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
        "Make it anew, as its owner.",
        ("REINDEX INDEX CONCURRENTLY {index};",),
    ),
    # The journal's protection.
    "journal_unprotected": Kind(
        "error",
        "History could be rewritten, or the head moved back, without an error.",
        "Find out who did this; then enable the trigger or, if it is not there or refuses nothing, make"
        " it again as its migration does.",
        ("ALTER TABLE {table} ENABLE TRIGGER {trigger};",),
    ),
    "service_may_rewrite": Kind(
        "error",
        "A fault or an intruder in the service could rewrite history.",
        "Take these rights from the service's role, and see that it is no superuser and owns no table.",
        ("REVOKE {privilege} ON {table} FROM {role};",),
    ),
    "service_lacks_rights": Kind(
        "error",
        "Requests that need them are answered 503 `journal_unavailable`, reason `denied`, or projections stand.",
        "Find out who took them away; then give them back, as the owner of the schema.",
        ("GRANT {privilege} ON {table} TO {role};",),
    ),
    "service_has_login_rights": Kind(
        "warning",
        "The service works with the rights of the login that migrated: only triggers protect the"
        " journal from it.",
        "Let a login that may create roles migrate, so that tallystick_service is made.",
        ("tallystick migrate",),
    ),
    "keys_absent": Kind(
        "warning",
        "Nobody can ask anything of the API.",
        "Make a key.",
        ("tallystick keys make operator --role operator --ledger '*'",),
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
    "fsync_off": Kind(
        "error",
        "A power failure loses what was acknowledged.",
        "Set fsync = on.",
        (
            "ALTER SYSTEM SET fsync = on;",
            "SELECT pg_reload_conf();",
        ),
    ),
    "full_page_writes_off": Kind(
        "error",
        "A power failure can leave torn pages, and with them wrong data.",
        "Set full_page_writes = on.",
        (
            "ALTER SYSTEM SET full_page_writes = on;",
            "SELECT pg_reload_conf();",
        ),
    ),
    "autovacuum_off": Kind(
        "warning",
        "Plans go stale and transaction ids run out.",
        "Set autovacuum = on.",
        (
            "ALTER SYSTEM SET autovacuum = on;",
            "SELECT pg_reload_conf();",
        ),
    ),
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
        "Find its owner, and end it.",
        ("SELECT pg_terminate_backend({pid});",),
    ),
    "transaction_long_running": Kind(
        "warning",
        "It keeps vacuum from removing old rows, and may hold locks.",
        "Find out what it does; if nothing needs it, cancel it.",
        ("SELECT pg_cancel_backend({pid});",),
    ),
    "transaction_prepared": Kind(
        "warning",
        "Nobody ends it by itself; it holds its locks and keeps vacuum from removing old rows.",
        "Tallystick prepares none. Whoever knows it commits it; otherwise undo it.",
        ("ROLLBACK PREPARED {gid};",),
    ),
    "slot_inactive": Kind(
        "warning",
        "It keeps the write-ahead log for ever, until the disk is full.",
        "Reconnect its reader, or drop it.",
        ("SELECT pg_drop_replication_slot({slot});",),
    ),
    "wraparound_near": Kind(
        "error",
        "When transaction ids run out, PostgreSQL refuses all writes.",
        "Find what holds vacuum back (the warnings about sessions and slots), then freeze old rows.",
        ("VACUUM (FREEZE);",),
    ),
    "table_never_analysed": Kind(
        "warning",
        "Queries are planned as if it were empty.",
        "Analyse it, and see that autovacuum runs.",
        ("ANALYZE {table};",),
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
        " wait until that time; or, if it is far, restore a backup from before it, or `tallystick export FILE`, with"
        " --to at the last position with a right time, and `tallystick import FILE` into an empty database.",
    ),
    # Projections.
    "projection_missing": Kind(
        "error",
        "Its lists cannot be read.",
        _WHO_PROJECTS + " It installs what is missing.",
        ("tallystick serve",),
    ),
    "projection_tables_missing": Kind(
        "error",
        "Its lists cannot be read, nor advanced.",
        "Make it anew from the journal. With the old tables gone there is nothing to compare it with.",
        ("tallystick replay {names} --accept-difference 'its tables were dropped'",),
    ),
    "projection_beyond_head": Kind(
        "error",
        "It has read events that the journal does not have: the journal lost some, or another was put"
        " in its place.",
        "Find out whether the database was restored from an older backup. If the journal is right, make"
        " it anew, which shows what differs.",
        ("tallystick replay {names}",),
    ),
    "projection_halted": Kind(
        "error",
        "Its lists stand still, and say so.",
        "Mend what its error says, then resume it. If it needs a newer release, start that, and it goes"
        " on by itself. If it is its tables that are wrong, replay it.",
        (
            "tallystick projections resume {name}",
            "tallystick replay {name}",
        ),
    ),
    "projection_failing": Kind(
        "error",
        "Its lists stand still: whoever advances it fails, and tries again every few seconds.",
        "Mend what its error says: it goes on by itself. Another projector would fail as well. If it is"
        " its tables that are wrong, replay it.",
        ("tallystick replay {name}",),
    ),
    "projection_paused": Kind(
        "warning",
        "Its lists stand still until it is resumed.",
        "Resume it when what it was paused for is done.",
        ("tallystick projections resume {name}",),
    ),
    "projection_stuck": Kind(
        "error",
        "Whoever has its place does nothing, and its lists fall behind.",
        "Restart the process that has its place: its session is named. Another projector beside it"
        " would only wait for the place; `tallystick serve` starts one anew when its own has ended."
        " What follows ends that session, so that the place is free.",
        ("tallystick projections restart {name}",),
    ),
    "projection_blocked": Kind(
        "error",
        "Whoever advances it waits for a lock of another session, and its lists fall behind.",
        "Find the owner of that session, and end it. Restarting the projector does not help.",
        ("SELECT pg_terminate_backend({pid});",),
    ),
    "projector_absent": Kind(
        "error",
        "Nobody advances it, and its lists fall behind.",
        _WHO_PROJECTS,
        ("tallystick serve",),
    ),
    "nats_publisher_absent": Kind(
        "error",
        "Nobody publishes to NATS, and its stream falls behind.",
        "Start `tallystick serve` or `tallystick publish` with TALLYSTICK_NATS_URL set; or, if nobody"
        " wants the stream, pause it.",
        ("tallystick projections pause nats",),
    ),
    "nats_failing": Kind(
        "error",
        "Its stream stands still: whoever publishes to NATS fails, and tries again every few seconds.",
        "See that the broker runs, that TALLYSTICK_NATS_URL leads to it, and what the error says: it"
        " goes on by itself.",
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
        "info",
        "The version that a replay has replaced is kept, so that one can look at it; it takes up room.",
        "Nothing needs to be done: the next replay drops it. Or drop it now.",
        ("tallystick replay {names} --drop-retired",),
    ),
    "projection_differs": Kind(
        "error",
        "Its lists show what the journal does not say.",
        "Make it anew; what differs is shown before anything is replaced.",
        ("tallystick replay {name}",),
    ),
    "projection_unbalanced": Kind(
        "error",
        "Its sums show what the journal does not say.",
        "Make it anew; what differs is shown before anything is replaced.",
        ("tallystick replay {name}",),
    ),
    "webhook_disabled": Kind(
        "warning",
        "It is told nothing; what is owed to it waits.",
        "Mend its receiver, then enable it; delete it (DELETE /v1/webhooks/ID) if nobody wants it.",
        ("tallystick webhooks enable {id}",),
    ),
    "deliveries_failed": Kind(
        "warning",
        "What comes after them on the same account or transaction waits behind them.",
        "Mend the receiver, then retry them all, or discard each that it must not have (`tallystick"
        " webhooks discard`).",
        (
            "tallystick webhooks deliveries {id} --state failed",
            "tallystick webhooks retry {id} --failed",
        ),
    ),
    "deliveries_late": Kind(
        "warning",
        "Receivers are told late.",
        "See what the attempts say, and the publisher's log.",
        ("tallystick webhooks deliveries {id} --state pending",),
    ),
    "publisher_absent": Kind(
        "error",
        "Nobody delivers webhooks.",
        "Start `tallystick serve` or, beside one that runs with --no-projector, `tallystick publish`.",
        ("tallystick serve",),
    ),
    "nats_unreachable": Kind(
        "warning",
        "Nothing is published to NATS while it is away.",
        "See that the broker runs, and that TALLYSTICK_NATS_URL leads to it.",
    ),
    "rebuild_unfinished": Kind(
        "warning",
        "Nobody works on it, and its tables take up room.",
        "Go on with it, or drop it.",
        (
            "tallystick replay {name}",
            "tallystick replay {name} --cancel",
        ),
    ),
    "rebuild_refused": Kind(
        "warning",
        "What was rebuilt cannot replace what is read: it failed, or one of the two is wrong.",
        "See why. Then replay again, or switch to it although it differs, or drop it.",
        (
            "tallystick replay {name}",
            "tallystick replay {name} --accept-difference 'WHY'",
            "tallystick replay {name} --cancel",
        ),
    ),
    "dead_letters_open": Kind(
        "error",
        "The lists lack these events, and all later ones of their streams.",
        "Mend what made the event fail, then retry it; or discard it, for a reason.",
        (
            "tallystick dead-letters show {id}",
            "tallystick dead-letters retry {id}",
            "tallystick dead-letters discard {id} --reason 'WHY'",
        ),
    ),
    # What the ledger has to do by itself.
    "hold_not_released": Kind(
        "error",
        "Its amounts stay pending although its time is over.",
        "See that an API process runs (`tallystick serve`), whose worker releases it, and that the"
        " projection `due` keeps up.",
        ("tallystick trace {id} --ledger {ledger}",),
    ),
    "request_not_carried_out": Kind(
        "error",
        "It was accepted, and who asked waits for it.",
        "See that an API process runs (`tallystick serve`), whose worker carries it out, and that the"
        " projection `due` keeps up.",
        ("tallystick trace {id} --ledger {ledger}",),
    ),
    "snapshot_differs": Kind(
        "error",
        "Accounts are loaded from it: decisions and answers may be wrong.",
        "Delete it, and restart the API processes; events alone are the truth.",
        ("DELETE FROM snapshots WHERE originator_id = {stream};",),
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
    """Something that is wrong: its code, what was found, examples, of which there may be more, and what it is about.

    For each subject the commands of the kind are filled in; those that need a word that it lacks are left out.
    """

    code: str
    found: str
    examples: tuple[str, ...] = ()
    subjects: tuple[Mapping[str, str], ...] = ()

    @property
    def kind(self) -> Kind:
        """Its severity, why it matters, what to do."""
        return CATALOGUE[self.code]

    @property
    def commands(self) -> list[str]:
        """What to run, ready to paste, each once."""
        return list(dict.fromkeys(self._filled()))

    @property
    def remedy(self) -> str:
        """What to do, in words, with the commands."""
        return " ".join([self.kind.remedy, *(f"`{command}`" for command in self.commands)])

    def _filled(self) -> Iterator[str]:
        for subject in self.subjects or ({},):
            for command in self.kind.commands:
                if words_of(command) <= subject.keys():
                    yield command.format(**subject)


def words_of(command: str) -> set[str]:
    """Return the words that are to be filled into a command."""
    return {word for _, word, _, _ in Formatter().parse(command) if word}
