"""What a run of the benchmark has found."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from scripts.bench.meters.disk_space import DiskSpace
from scripts.bench.report.figures import Figures
from scripts.bench.workloads.books import Books


class Results(NamedTuple):
    """The results of all stages: figures by contestant, books and disk space by stage, and milestones of the growing
    journal.
    """

    figures: dict[str, Figures]
    books: dict[str, Books]
    space: dict[str, DiskSpace]
    milestones: list[Mapping[str, Any]]
