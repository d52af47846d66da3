"""The audit: what the tables of projections must hold, and whether the journal keeps its own rules.

It folds the stored JSON of the journal with plain Python, and shares nothing with what writes or projects it: a fault
there would not show in a comparison of that code with itself. The domain's types, events and folds and the projections'
own code are therefore not used here, only the journal's table.

    with database.connect("audit") as connection:
        assert differences(connection) == []

compares every row and column of every version of every projection with the journal at the position where the version
stands, in one state of the database, so that projectors, rebuilds and writers may run meanwhile. `one_instant`,
`versions` and `compare` do the same step by step, for one version or for a sample of accounts and transactions.

`violations` judges the journal itself by the rules of a ledger (`violation.Violation` names them).

Memory does not grow with the journal, but for the sums of `turnovers`, of which there are as many as that table has
rows, for ledgers, and for what is due; and of the rules, for the accounts.
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
