"""The examination itself: what kept it from finding all there is to find."""

from collections.abc import Mapping

from scripts.doctor.catalogue.kind import Kind

KINDS: Mapping[str, Kind] = {
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
}
