"""Lists of several installations, read page by page: nothing is left out and nothing comes twice, whoever answers."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from api.http.spanning.merging import Part, Places, is_more, merged, places_after
from tests.properties.profiles import in_memory

Row = tuple[int, str]
"""A row: what it is sorted by, and what tells it from the others of its installation."""

NAMES = ("east", "west", "north")
KEYS = st.integers(0, 12)
LISTS = st.fixed_dictionaries(
    {
        name: st.lists(KEYS, max_size=12).map(
            lambda keys: [(key, str(at)) for at, key in enumerate(sorted(keys))]
        )
        for name in NAMES
    }
)
SOME = st.sets(st.sampled_from(NAMES))


def rows_after(rows: Sequence[Row], place: Row | None, *, descending: bool) -> list[Row]:
    """Return what an installation has after a place, as its statement would find it."""
    ordered = sorted(rows, reverse=descending)
    return [row for row in ordered if place is None or (row < place if descending else row > place)]


def itself(row: Row) -> Row:
    return row


class Reading:
    """Somebody who follows a list: where it stands in each installation, and what it was shown."""

    def __init__(self, *, descending: bool) -> None:
        self.places: Places = {}
        self.shown: list[tuple[str, Row]] = []
        self._descending = descending

    def turn(self, lists: Mapping[str, Sequence[Row]], size: int, silent: set[str], short: set[str]) -> bool:
        """Read a page; tell whether another may follow. Those in `short` give one row, and say that others follow."""
        parts = dict(self._parts(lists, size, silent, short))
        rows = list(islice(merged(parts, itself, descending=self._descending), size))
        self.places = places_after(self.places, rows, itself)
        self.shown += rows
        return is_more(parts, len(rows), silent)

    def _parts(
        self, lists: Mapping[str, Sequence[Row]], size: int, silent: set[str], short: set[str]
    ) -> Iterator[tuple[str, Part[Row]]]:
        for name in NAMES:
            if name not in silent:
                found = rows_after(lists[name], self.places.get(name), descending=self._descending)
                limit = 1 if name in short else size + 1
                yield name, Part(found[:limit], name in short and len(found) > limit)

    def of(self, name: str) -> list[Row]:
        return [row for shown_of, row in self.shown if shown_of == name]


@in_memory()
@given(LISTS, st.integers(1, 5), st.booleans())
def test_pages_of_all_are_the_sorted_list(lists: dict[str, list[Row]], size: int, descending: bool) -> None:
    reading = Reading(descending=descending)
    while reading.turn(lists, size, set(), set()):
        pass
    everything = [(row, name) for name in NAMES for row in lists[name]]
    assert [row for _, row in reading.shown] == sorted((row for row, _ in everything), reverse=descending)


@in_memory()
@given(LISTS, st.lists(st.tuples(st.integers(1, 5), SOME, SOME), max_size=30), st.booleans())
def test_whoever_was_silent_follows_when_it_answers(
    lists: dict[str, list[Row]], turns: list[tuple[int, set[str], set[str]]], descending: bool
) -> None:
    reading = Reading(descending=descending)
    for size, silent, short in turns:
        said_more = reading.turn(lists, size, silent, short)
        lacks = any(len(reading.of(name)) < len(lists[name]) for name in NAMES)
        assert said_more or not lacks
    while reading.turn(lists, 3, set(), set()):
        pass
    for name in NAMES:
        assert reading.of(name) == sorted(lists[name], reverse=descending)


@in_memory()
@given(LISTS, LISTS, st.integers(1, 5), st.integers(0, 6))
def test_rows_written_meanwhile_do_not_move_the_others(
    lists: dict[str, list[Row]], later: dict[str, list[Row]], size: int, after_pages: int
) -> None:
    grown = {name: [*lists[name], *((key, f"late {at}") for key, at in later[name])] for name in NAMES}
    reading = Reading(descending=False)
    for _ in range(after_pages):
        reading.turn(lists, size, set(), set())
    while reading.turn(grown, size, set(), set()):
        pass
    assert len(set(reading.shown)) == len(reading.shown)
    for name in NAMES:
        assert set(lists[name]) <= set(reading.of(name)) <= set(grown[name])


@in_memory()
@given(LISTS, st.integers(1, 5))
def test_lists_in_an_order_of_their_own_are_still_whole(lists: dict[str, list[Row]], size: int) -> None:
    """A database may compare texts in another way than Python does. Then rows may come late, but come."""
    reading = Reading(descending=False)

    def parts() -> dict[str, Part[Row]]:
        return {
            name: Part([row for row in rows if row not in reading.of(name)][: size + 1], False)
            for name, rows in lists.items()
        }

    def reversed_place(row: Row) -> int:
        return -row[0]

    while found := list(islice(merged(parts(), reversed_place, descending=False), size)):
        reading.shown += found
    assert {name: reading.of(name) for name in NAMES} == lists
