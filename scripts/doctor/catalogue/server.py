"""The database's server: its settings, sessions, and clock."""

from collections.abc import Mapping

from scripts.doctor.catalogue.kind import Kind

KINDS: Mapping[str, Kind] = {
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
    "archive_absent": Kind(
        "warning",
        "With the disk, everything acknowledged since the last base backup is lost. A standby repeats every mistake at"
        " once, so it is no backup.",
        "Archive the log, as scripts/BACKUP.md says, and restart PostgreSQL. If the database is backed up by means that"
        " PostgreSQL does not show, such as its provider's own, say so in TALLYSTICK_BACKED_UP_BY.",
        ("ALTER SYSTEM SET archive_mode = on;",),
    ),
    "archive_failing": Kind(
        "warning",
        "What was acknowledged since is on this disk alone, and the log is kept until the disk is full.",
        "Read why in PostgreSQL's log, and mend the place that the archive is in. PostgreSQL tries again by itself.",
        ("SELECT * FROM pg_stat_archiver;",),
    ),
    "standby_asynchronous": Kind(
        "warning",
        "If a standby is promoted, what was acknowledged and had not arrived there is lost.",
        "Have commits wait for a standby, as scripts/CLUSTER.md says: with Patroni by synchronous_mode, otherwise by"
        " naming the standbys.",
        (
            "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)';",
            "SELECT pg_reload_conf();",
        ),
    ),
    "commits_local": Kind(
        "error",
        "synchronous_standby_names promises that a standby has what is acknowledged, and it need not.",
        "Set synchronous_commit to on for the service's login.",
        (
            "ALTER SYSTEM SET synchronous_commit = on;",
            "SELECT pg_reload_conf();",
        ),
    ),
    "standby_absent": Kind(
        "error",
        "Every commit waits for it: requests are answered 503 `journal_unavailable`, reason `unreachable`.",
        "Bring the standby back. Patroni chooses another by itself, if there is one.",
        ("SELECT application_name, state, sync_state FROM pg_stat_replication;",),
    ),
    "embedded_unarchived": Kind(
        "info",
        "With this disk, everything is lost. That is right for trying things out.",
        "You need not do anything, unless somebody would miss it. Then use a PostgreSQL of yours, with an archive"
        " (scripts/BACKUP.md), or keep exports on another machine.",
        ("tallystick export journal.ndjson",),
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
}
