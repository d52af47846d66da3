"""A stage: contestants measured in turn, and the check of what they did."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from scripts.bench.report.figures import Contestant
from scripts.bench.workloads.books import Books


class Stage(NamedTuple):
    """Contestants in the order they run, the check of their books after the last of them, and the milestones of a
    growing journal.
    """

    contestants: tuple[Contestant, ...]
    books: Callable[[], Books]
    milestones: Sequence[Mapping[str, Any]] = ()
