"""The installation: its schema, its protection and the rights of the service."""

from collections.abc import Mapping

from scripts.doctor.catalogue.kind import Kind

KINDS: Mapping[str, Kind] = {
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
    "upgrade_unfinished": Kind(
        "info",
        "Every event that is appended is put into that index too, which is twice as large as the one in its place.",
        "Drop it once no older release runs here, and none is to be rolled back to. Writers go on meanwhile.",
        ("tallystick migrate --finish",),
    ),
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
    "move_unfinished": Kind(
        "error",
        "Every command for the ledger is refused until its move is finished or cancelled.",
        "Run the move again, which goes on where it was cut off; or cancel it.",
        ("tallystick place {ledger} --on {installation} --yes", "tallystick place {ledger} --cancel"),
    ),
    "ledger_missing": Kind(
        "error",
        "Every request for the ledger is answered 503 `ledger_missing`. If a client opened it anew, its keys and"
        " balances would begin anew.",
        "If a command follows, the installation was restored to a moment before the ledger moved there: run it before"
        " anything else, and the ledger is as it was when it left. Otherwise its opening was cut off, or undone by a"
        " restore: recover to a later moment if you can, or open it again with `POST /v1/ledgers`.",
        ("tallystick place {ledger} --on {installation} --yes",),
    ),
    "installation_unnamed": Kind(
        "error",
        "Requests for its ledgers are 503 `journal_unavailable`, reason `installation_unknown`, and bridges into them"
        " stay in doubt.",
        "Name it in TALLYSTICK_INSTALLATIONS, of the service and of this command. Before an installation is given up,"
        " move its ledgers.",
    ),
    "move_not_arrived": Kind(
        "error",
        "Everything that is asked of the ledger is refused until its move is finished. It can no longer be cancelled.",
        "Run the move again, which goes on where it was cut off.",
        ("tallystick place {ledger} --on {installation} --yes",),
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
}
