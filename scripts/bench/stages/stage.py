"""A stage: contestants measured in turn, and the check of what they did."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from scripts.bench.meters.disk_space import Relation
from scripts.bench.report.figures import Contestant
from scripts.bench.workloads.books import Books


class Stage(NamedTuple):
    """Contestants in the order they run, the check of their books after the last of them, and the milestones of a
    growing journal.

    `space` returns the size of every table and index, once read models are up to date, if all that the stage writes are
    the transactions of its books. `in_any_order` says that each round may have another order of the contestants.
    """

    contestants: tuple[Contestant, ...]
    books: Callable[[], Books]
    milestones: Sequence[Mapping[str, Any]] = ()
    space: Callable[[], Mapping[Relation, int]] | None = None
    in_any_order: bool = False
