"""What a stage is: contestants that are measured in turn, and the check of what they have done."""

from collections.abc import Callable
from typing import NamedTuple

from scripts.bench.books import Books
from scripts.bench.figures import Contestant


class Stage(NamedTuple):
    """Contestants in the order in which they run, and the check of their books, after the last of them."""

    contestants: tuple[Contestant, ...]
    books: Callable[[], Books]
