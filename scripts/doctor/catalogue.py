"""The catalogue of findings: each code with its severity, why it matters and what to do. A code keeps its meaning."""

from collections.abc import Iterator, Mapping
from string import Formatter
from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "info"]
"""An error endangers money, history or answers. A warning will become an error, or needs an operator's judgement. An
info is worth knowing, but nothing is wrong."""


class Kind(NamedTuple):
    """What all findings of a code share.

    A command that begins with `tallystick` is for a shell; every other command is for psql. A `{word}` in a command is
    replaced with what the finding is about.
    """

    severity: Severity
    why: str
    remedy: str
    commands: tuple[str, ...] = ()


_TAMPERED = (
    "No release writes this: the disk, or somebody with more rights than the service, has changed the journal. Stop"
    " writing, keep the database as it is, and compare it with a backup and with exported copies."
)
_START_PROJECTOR = (
    "Start `tallystick serve`. If it runs with --no-projector, start `tallystick project` beside it."
)

CATALOGUE: Mapping[str, Kind] = {
    # The examination itself.
    "database_unreachable": Kind(
        "error", "Nothing can be written or read.", "Check that PostgreSQL runs and that the URL is right."
    ),
    "check_failed": Kind(
        "warning",
        "What this check would have found is unknown.",
        "Read the error: something was changed by hand, or this program has a fault.",
    ),
    "check_unfinished": Kind(
        "warning",
        "This check is incomplete: there may be more findings.",
        "Give it more time.",
        ("tallystick doctor --timeout-seconds 600",),
    ),
    "rights_missing": Kind(
        "error",
        "What this check would have found is unknown, and the service may lack the right too.",
        "Run the doctor with the login that migrated, or give this login the rights of the service.",
        ("GRANT tallystick_service TO {login};",),
    ),
    "standby_examined": Kind(
        "info",
        "Only the primary shows who holds places and which sessions exist.",
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
        "Create one, or name another --schema.",
        ("tallystick migrate",),
    ),
    "migrations_pending": Kind(
        "error",
        "This release needs them, and does not serve without them.",
        "Apply them.",
        ("tallystick migrate",),
    ),
    "migrations_newer": Kind(
        "warning",
        "A newer release was installed here. This release may refuse to touch what that one wrote.",
        "Finish the deployment of the newer release, or roll it back completely.",
    ),
    "postgres_unsupported": Kind(
        "error", "This version is not tested, and may not work.", "Use PostgreSQL 16 or newer."
    ),
    "index_invalid": Kind(
        "error",
        "The database may accept duplicates, or be slow.",
        "Rebuild the index, as its owner.",
        ("REINDEX INDEX CONCURRENTLY {index};",),
    ),
    # The journal's protection.
    "journal_unprotected": Kind(
        "error",
        "History could be rewritten, or the head moved back, without an error.",
        "Find out who did this. Then enable the trigger. If it is missing or refuses nothing, create it"
        " again as its migration does.",
        ("ALTER TABLE {table} ENABLE TRIGGER {trigger};",),
    ),
    "service_may_rewrite": Kind(
        "error",
        "A fault or an intruder in the service could rewrite history.",
        "Revoke these rights from the service's role. Check that the role is not a superuser and owns no table.",
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
        "The service works with all rights of the login that migrated, so only triggers protect the"
        " journal from it.",
        "Migrate with a login that may create roles, so that the role tallystick_service is created.",
        ("tallystick migrate",),
    ),
    "keys_absent": Kind(
        "warning",
        "Nobody can use the API.",
        "Create a key.",
        ("tallystick keys make operator --role operator --ledger '*'",),
    ),
    "temporary_tables_open": Kind(
        "warning",
        "An intruder in the service could create temporary tables that hide real ones where a query names no schema.",
        "Run the statement in the finding as the owner of the database, or run `tallystick migrate` as that owner.",
    ),
    "function_unpinned": Kind(
        "error",
        "Its caller decides which tables and functions it uses, so a guard could be bypassed.",
        "Run `tallystick migrate` as the owner of the schema, and find out who created the function.",
    ),
    # The server.
    "fsync_off": Kind(
        "error",
        "A power failure loses acknowledged writes.",
        "Set fsync = on.",
        (
            "ALTER SYSTEM SET fsync = on;",
            "SELECT pg_reload_conf();",
        ),
    ),
    "full_page_writes_off": Kind(
        "error",
        "A power failure can leave torn pages, and so wrong data.",
        "Set full_page_writes = on.",
        (
            "ALTER SYSTEM SET full_page_writes = on;",
            "SELECT pg_reload_conf();",
        ),
    ),
    "autovacuum_off": Kind(
        "warning",
        "Query plans become outdated, and transaction ids run out.",
        "Set autovacuum = on.",
        (
            "ALTER SYSTEM SET autovacuum = on;",
            "SELECT pg_reload_conf();",
        ),
    ),
    "disk_full_soon": Kind(
        "error", "A full disk stops all writing.", "Free some space or add more: the journal only grows."
    ),
    "connections_exhausted_soon": Kind(
        "warning",
        "At the limit, the service cannot reconnect.",
        "Raise max_connections, or find out who holds so many: each API process needs about 15.",
    ),
    "session_blocking": Kind(
        "error",
        "It holds a lock that the service needs: requests are answered 503 `journal_unavailable`, reason `locked`, or"
        " projections stand still.",
        "Find out what the session does, then end it with the command given. Its uncommitted work is undone, and"
        " whatever waits for it continues at once.",
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
        "It never ends by itself. It holds its locks, and keeps vacuum from removing old rows.",
        "Tallystick prepares none. If somebody needs it, let them commit it. Otherwise roll it back.",
        ("ROLLBACK PREPARED {gid};",),
    ),
    "slot_inactive": Kind(
        "warning",
        "It keeps write-ahead log until the disk is full.",
        "Reconnect the slot's reader, or drop the slot.",
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
        "Queries are planned as if the table were empty.",
        "Analyse it, and check that autovacuum runs.",
        ("ANALYZE {table};",),
    ),
    # Clocks.
    "clock_skewed": Kind(
        "warning",
        "Expiries and recorded times follow the machines' clocks. A server whose clock differs from the database's by"
        " more than TALLYSTICK_MAX_CLOCK_DIFFERENCE_SECONDS records nothing, and answers 503 with the reason `clock`.",
        "Let NTP set the clocks of this machine and of the database's: `timedatectl set-ntp true` on both. A server"
        " continues by itself once its clock is right.",
    ),
    "recorded_in_future": Kind(
        "error",
        "Recorded time never goes back. Until the clocks reach this time, everything is recorded with it, and holds"
        " expire early.",
        "Check the clock of the database and of the machine that recorded the event. Recorded events stay as they are,"
        " so wait until that time. If it is far away, restore an earlier backup. Or run `tallystick export FILE`, with"
        " --to at the last position that has a right time, and `tallystick import FILE` into an empty database.",
    ),
    # Projections.
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
    "nats_unreachable": Kind(
        "warning",
        "Nothing is published to NATS until it answers.",
        "Check that the broker runs, and that TALLYSTICK_NATS_URL leads to it.",
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
    # What the ledger has to do by itself.
    "hold_not_released": Kind(
        "error",
        "Its amounts stay held although it has expired.",
        "Check that an API process runs (`tallystick serve`), since its worker releases holds, and that the"
        " projection `due` keeps up.",
        ("tallystick trace {id} --ledger {ledger}",),
    ),
    "request_not_carried_out": Kind(
        "error",
        "It was accepted, and its client waits for the outcome.",
        "Check that an API process runs (`tallystick serve`), since its worker carries requests out, and that"
        " the projection `due` keeps up.",
        ("tallystick trace {id} --ledger {ledger}",),
    ),
    "snapshot_differs": Kind(
        "error",
        "Accounts are loaded from it: decisions and answers may be wrong.",
        "Delete it, and restart the API processes. They then load the account from its events.",
        ("DELETE FROM snapshots WHERE originator_id = {stream};",),
    ),
    # The journal.
    "journal_head_wrong": Kind(
        "error", "The next position would leave a gap, or is taken already.", _TAMPERED
    ),
    "journal_position_gap": Kind("error", "Events are missing; projections halt there.", _TAMPERED),
    "journal_version_gap": Kind("error", "Events of a stream are missing.", _TAMPERED),
    "journal_time_reversed": Kind("error", "A later position has an earlier recorded time.", _TAMPERED),
    "journal_event_unreadable": Kind(
        "error",
        "Neither accounts and transactions nor projections can be read beyond it.",
        f"A newer release may read it. {_TAMPERED}",
    ),
    "journal_event_misplaced": Kind("error", "No ledger records events in this order.", _TAMPERED),
    "journal_account_not_open": Kind(
        "error", "A closed or frozen account changed, or one was closed with a balance.", _TAMPERED
    ),
    "journal_amount_out_of_range": Kind("error", "A total left its range.", _TAMPERED),
    "journal_limit_broken": Kind("error", "An account went beyond its limits.", _TAMPERED),
    "journal_totals_unbalanced": Kind("error", "Money appeared from nowhere, or vanished.", _TAMPERED),
    "journal_transaction_unbalanced": Kind("error", "Money appeared from nowhere, or vanished.", _TAMPERED),
    "journal_entries_unmatched": Kind(
        "error", "The entries of an account and of its transactions must match.", _TAMPERED
    ),
    "journal_balance_after_wrong": Kind("error", "A statement would show a wrong balance.", _TAMPERED),
    "journal_key_mismatch": Kind("error", "A request could be carried out twice.", _TAMPERED),
    "journal_hold_misused": Kind("error", "A hold ended in a way that is not allowed.", _TAMPERED),
    "journal_payout_unmatched": Kind(
        "error", "A payout and the transaction that books its money contradict each other.", _TAMPERED
    ),
    "journal_settlement_exceeds_hold": Kind("error", "More was settled than was held.", _TAMPERED),
    "journal_reversal_exceeds_original": Kind("error", "More was reversed than was posted.", _TAMPERED),
    "journal_asset_conflict": Kind("error", "Amounts of different scales would be added up.", _TAMPERED),
    "journal_key_reused": Kind("error", "A request was carried out twice.", _TAMPERED),
    # An export, and what was signed of the journal.
    "export_malformed": Kind(
        "error",
        "Nothing in this line can be trusted.",
        f"Export again. If it happens again, the journal was changed. {_TAMPERED}",
    ),
    "export_incomplete": Kind(
        "error",
        "Events are missing.",
        f"Export again. If it happens again, the journal was changed. {_TAMPERED}",
    ),
    "event_altered": Kind("error", "The event is not the one that was sealed at its position.", _TAMPERED),
    "root_mismatch": Kind(
        "error", "The events are not those that were exported.", "The file was changed: export again."
    ),
    "checkpoint_mismatch": Kind("error", "The events are not those that were signed.", _TAMPERED),
    "history_rewritten": Kind("error", "The journal differs from what it said before.", _TAMPERED),
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
}


class Finding(NamedTuple):
    """Something found: its code, what was found, some examples, and what it is about (`subjects`).

    The commands of the kind are filled in for each subject. A command with a word that the subject lacks is left out.
    """

    code: str
    found: str
    examples: tuple[str, ...] = ()
    subjects: tuple[Mapping[str, str], ...] = ()

    @property
    def kind(self) -> Kind:
        """The severity, why it matters, and what to do."""
        return CATALOGUE[self.code]

    @property
    def commands(self) -> list[str]:
        """The commands to run, ready to paste, each once."""
        return list(dict.fromkeys(self._filled()))

    @property
    def remedy(self) -> str:
        """What to do, in words, followed by the commands."""
        return " ".join([self.kind.remedy, *(f"`{command}`" for command in self.commands)])

    def _filled(self) -> Iterator[str]:
        for subject in self.subjects or ({},):
            for command in self.kind.commands:
                if words_of(command) <= subject.keys():
                    yield command.format(**subject)


def words_of(command: str) -> set[str]:
    """Return the placeholders in a command."""
    return {word for _, word, _, _ in Formatter().parse(command) if word}
