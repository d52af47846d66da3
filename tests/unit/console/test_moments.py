"""The times and positions that the address of a page names."""

import pytest

from api.console.pages.books.moments import bounds_of, moment_of

NOW = "2026-06-15T12:00:00.000000Z"


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ({"at_position": "17", "at": "2026-01-01"}, {"at_position": "17"}),
        ({"at": "2026-06-14"}, {"at": "2026-06-14T23:59:59.999999Z"}),
        ({"at": "2026-06-14", "time": "20:04"}, {"at": "2026-06-14T20:04:00Z"}),
        ({"at": "2026-06-14", "time": "20:04:05"}, {"at": "2026-06-14T20:04:05Z"}),
        ({"at": "2026-06-14T20:00:00.5Z"}, {"at": "2026-06-14T20:00:00.5Z"}),
        ({"at": "yesterday"}, {"at": "yesterday"}),
    ],
)
def test_an_address_names_a_moment(query: dict[str, str], asked: dict[str, str]) -> None:
    moment = moment_of(query, NOW)
    assert moment is not None
    assert moment.asked == asked


@pytest.mark.parametrize(
    "query", [{}, {"at": ""}, {"at_position": "", "at": ""}, {"at": "2026-06-15"}, {"at": "2027-01-01"}]
)
def test_a_day_that_is_not_over_is_the_present(query: dict[str, str]) -> None:
    assert moment_of(query, NOW) is None


def test_the_last_day_of_a_list_is_within_it() -> None:
    assert bounds_of({"from": "2026-02-28", "to": "2026-02-28"}) == {
        "from": "2026-02-28T00:00:00Z",
        "to": "2026-03-01T00:00:00Z",
    }


@pytest.mark.parametrize("text", ["2026-02-28T07:00:00Z", "9999-12-31", "2026-02-30", "x"])
def test_what_is_no_day_is_left_to_the_api(text: str) -> None:
    assert bounds_of({"to": text})["to"] == text


def test_a_list_without_bounds_has_none() -> None:
    assert bounds_of({"from": ""}) == {"from": None, "to": None}
