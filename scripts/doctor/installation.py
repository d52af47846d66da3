"""Checks of the installation: its migrations, its indexes, and the protection of its journal."""

from collections.abc import Iterator, Sequence

from domain.journal import migrations
from domain.journal.database import SERVICE_ROLE
from domain.journal.trouble import rights_of
from projections.running.places import is_standby
from scripts.doctor.examination import Patient, examples
from scripts.doctor.finding import Finding

OLDEST_POSTGRES = 160_000

FROZEN_SECONDS = 30
"""A move that goes on refuses commands for some seconds only."""

DISABLED = "is disabled"

TRIGGERS = {
    "events_are_never_changed": "stored_events",
    "events_are_never_truncated": "stored_events",
    "head_never_moves_back": "head",
    "head_is_never_truncated": "head",
}
"""The triggers that protect the journal, and the table that each is on."""

FORBIDDEN = (
    ("stored_events", "UPDATE"),
    ("stored_events", "DELETE"),
    ("stored_events", "TRUNCATE"),
    ("stored_events", "TRIGGER"),
    ("abbreviated_events", "UPDATE"),
    ("abbreviated_events", "DELETE"),
    ("events", "UPDATE"),
    ("events", "DELETE"),
    ("events", "TRIGGER"),
    ("head", "DELETE"),
    ("head", "TRUNCATE"),
    ("head", "TRIGGER"),
    ("migrations", "UPDATE"),
)
"""Rights that the service must not have."""

NEEDED = tuple(
    (table, privilege)
    for privileges, tables in (
        (
            "SELECT",
            "migrations installation valid_api_keys abbreviated_events fenced_ledgers absent_ledgers",
        ),
        (
            "SELECT INSERT",
            "stored_events events signing_keys checkpoints projection_controls projection_switches position_ranges"
            " copied_events",
        ),
        ("SELECT UPDATE", "head delivery_outcomes"),
        ("SELECT INSERT DELETE", "console_sessions snapshots"),
        ("SELECT INSERT UPDATE", "placements witnessed_logs"),
        (
            "SELECT INSERT UPDATE",
            "api_keys rebuilds dead_letters webhooks deliveries delivery_attempts outbox_suppressions request_replays",
        ),
        (
            "SELECT INSERT UPDATE DELETE",
            "tracking projections projection_versions rebuild_parts webhook_secrets ledger_moves",
        ),
    )
    for table in tables.split()
    for privilege in privileges.split()
)
"""Rights that the service must have, as the migrations grant them."""


def schema(patient: Patient) -> Iterator[Finding]:
    """Compare the applied migrations with those of this release, and check the server's version and the indexes."""
    ((_, version),) = patient.rows("settings", names=["server_version_num"])
    if int(version) < OLDEST_POSTGRES:
        yield Finding("postgres_unsupported", f"the server's version is {version}")
    rights = rights_of(patient.connection, patient.database.schema)
    if rights.has_schema and not rights.may_use:
        subject = {"login": rights.login, "schema": patient.database.schema, "role": SERVICE_ROLE}
        words = f"the login {rights.login} may not use the schema {patient.database.schema}"
        yield Finding("schema_closed", words, subjects=(subject,))
        return
    if not patient.value("has_table", table="migrations"):
        yield Finding("schema_missing", f"the schema {patient.database.schema} has no installation")
        return
    applied = {name for (name,) in patient.rows("migrations")}
    known = set(migrations.names())
    if pending := sorted(known - applied):
        yield Finding("migrations_pending", f"{len(pending)} migrations are not applied", examples(pending))
    if newer := sorted(applied - known):
        yield Finding(
            "migrations_newer", f"{len(newer)} migrations are unknown to this release", examples(newer)
        )
    if invalid := [index for (index,) in patient.rows("invalid_indexes")]:
        subjects = tuple({"index": index} for index in invalid)
        yield Finding("index_invalid", f"{len(invalid)} indexes cannot be used", examples(invalid), subjects)
    if not pending and patient.value("has_index_by_names"):
        yield Finding("upgrade_unfinished", "the journal has an index that only an older release needs")


def service_rights(patient: Patient) -> Iterator[Finding]:
    """See that the service has what the migrations have granted to it."""
    with patient.database.connect("tallystick doctor") as service:
        ((role,),) = service.execute("SELECT current_user").fetchall()
    tables, privileges = zip(*NEEDED, strict=True)
    if lacking := patient.rows("lacking_rights", role=role, tables=list(tables), privileges=list(privileges)):
        subjects = tuple({"privilege": p, "table": t, "role": role} for t, p in lacking)
        words = examples([f"{p} on {t}" for t, p in lacking])
        yield Finding("service_lacks_rights", f"{role} lacks {len(lacking)} rights", words, subjects)


def protection(patient: Patient) -> Iterator[Finding]:
    """Check what protects the journal from being rewritten: triggers, and the limited rights of the service."""
    found = {name: (enabled, source) for name, enabled, source in patient.rows("triggers")}
    failing = {name: how for name in TRIGGERS if (how := _failing(*found.get(name, ("", ""))))}
    if failing:
        broken = [f"{name} {how}" for name, how in failing.items()]
        subjects = tuple(
            {"table": TRIGGERS[name], "trigger": name} if how == DISABLED else {}
            for name, how in failing.items()
        )
        yield Finding(
            "journal_unprotected", f"{len(broken)} triggers do not protect it", examples(broken), subjects
        )
    with patient.database.connect("tallystick doctor") as service:
        ((role,),) = service.execute("SELECT current_user").fetchall()
    if database := patient.value("temporary_tables", role=role):
        yield Finding("temporary_tables_open", f"REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC")
    if unpinned := [name for (name,) in patient.rows("unpinned_functions")]:
        yield Finding(
            "function_unpinned", f"{len(unpinned)} functions set no search_path", examples(unpinned)
        )
    tables, privileges = zip(*FORBIDDEN, strict=True)
    rights = patient.rows("rights", role=role, tables=list(tables), privileges=list(privileges))
    if rights:
        code = "service_may_rewrite" if role == SERVICE_ROLE else "service_has_login_rights"
        subjects = tuple({"privilege": p, "table": t, "role": role} for t, p in rights)
        yield Finding(
            code, f"{role} has forbidden rights", examples([f"{p} on {t}" for t, p in rights]), subjects
        )


def keys(patient: Patient) -> Iterator[Finding]:
    """Check that there is a valid key."""
    if not patient.value("has_keys"):
        yield Finding("keys_absent", "there is no valid API key")


def moves(patient: Patient) -> Iterator[Finding]:
    """Find ledgers that are refused because their move was cut off."""
    found = patient.rows("frozen_ledgers", seconds=FROZEN_SECONDS)
    if found:
        subjects = tuple({"ledger": ledger, "installation": to} for ledger, to in found)
        words = examples([f"{ledger} to {to}" for ledger, to in found])
        yield Finding("move_unfinished", f"{len(found)} moves of ledgers were cut off", words, subjects)


def named(patient: Patient, names: Sequence[str]) -> Iterator[Finding]:
    """Find installations that have ledgers by home's map, and are not among those that the placement names."""
    found = patient.rows("unnamed_installations", names=list(names))
    if found:
        words = examples([f"{name} has {count} ledgers, such as {ledger}" for name, count, ledger in found])
        yield Finding("installation_unnamed", f"{len(found)} installations of the map are not named", words)


def vantage(patient: Patient) -> Iterator[Finding]:
    """Report if the server is a standby."""
    if is_standby(patient.connection):
        yield Finding("standby_examined", "the server is a standby, which follows a primary")


def _failing(enabled: str, source: str) -> str:
    """Return in words why a trigger does not protect, an empty string if it does."""
    if not enabled:
        return "is missing"
    if enabled not in ("O", "A"):
        return DISABLED
    return "" if "RAISE EXCEPTION" in source else "refuses nothing"
