"""The audit: compares the tables of projections with the journal, and checks whether the journal keeps its own rules.

It folds the stored JSON of the journal with plain Python, and shares nothing with the code that writes or projects the
journal: a fault in that code would not show if the code were compared with itself. So it uses only the journal's table,
and neither the domain's types, events and folds nor the projections' code.

    with database.connect("audit") as connection:
        assert differences(connection) == []

compares every row and column of every version of every projection with the journal at the version's position, in one
snapshot of the database, so that projectors, rebuilds and writers may run meanwhile. `one_instant`, `versions` and
`compare` do the same step by step, for one version or for a sample of accounts and transactions.

`violations` checks the journal itself against the rules of a ledger, whose codes are listed at `violation.Violation`.

Memory does not grow with the length of the journal, with these exceptions: the sums of `turnovers`, which are as many
as that table has rows, the ledgers, and the work that is due; for the rules, the accounts.
"""

from projections.audit.comparison import (
    TABLES,
    AuditedTable,
    Difference,
    Version,
    compare,
    differences,
    expected_rows,
    one_instant,
    versions,
)
from projections.audit.rules import violations
from projections.audit.sampling import choose
from projections.audit.snapshots import SnapshotDifference, snapshot_differences
from projections.audit.stored import Sample, Stored, Unfoldable
from projections.audit.violation import Violation

__all__ = [
    "TABLES",
    "AuditedTable",
    "Difference",
    "Sample",
    "SnapshotDifference",
    "Stored",
    "Unfoldable",
    "Version",
    "Violation",
    "choose",
    "compare",
    "differences",
    "expected_rows",
    "one_instant",
    "snapshot_differences",
    "versions",
    "violations",
]
