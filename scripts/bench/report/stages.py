"""What a stage is: contestants that are measured in turn, and the check of what they have done."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from scripts.bench.report.figures import Contestant
from scripts.bench.workloads.books import Books


class Stage(NamedTuple):
    """Contestants in the order in which they run, the check of their books, after the last of them, and what was seen
    of a journal as it grew."""

    contestants: tuple[Contestant, ...]
    books: Callable[[], Books]
    milestones: Sequence[Mapping[str, Any]] = ()
