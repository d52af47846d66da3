"""Where things stand in the drawings of accounts."""

from api.console.drawings import limits_bar
from api.console.drawings.balance_chart import HEIGHT, WIDTH, Point, drawn, steps_of

TIMES = [f"2026-01-0{day}T00:00:00.000000Z" for day in range(1, 6)]


def entry(day: int, direction: str, amount: int, after: int) -> dict[str, object]:
    return {"recorded_at": TIMES[day], "direction": direction, "amount": amount, "balance_after": after}


def corners(line: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (corner.split(",") for corner in line.split())]


def test_a_statement_is_steps_from_the_balance_before_it() -> None:
    listed = [entry(1, "debit", 30, 70), entry(2, "credit", 5, 75)]
    assert steps_of(listed, "recorded", "credit") == [
        Point(TIMES[1], 100),
        Point(TIMES[1], 70),
        Point(TIMES[2], 75),
    ]
    assert steps_of([entry(1, "debit", 30, 70)], "recorded", "debit")[0].balance == 40
    assert steps_of([], "recorded", "credit") == []


def test_a_balance_stands_still_between_two_entries() -> None:
    chart = drawn([Point(TIMES[0], 0), Point(TIMES[2], 100)], [], TIMES[4], {})
    assert chart is not None
    (x0, low), (x1, still), (x2, high), (x3, last) = corners(chart.line)
    assert (x0, x1, x2, x3) == (0, WIDTH / 2, WIDTH / 2, WIDTH)
    assert low == still > high == last
    assert (chart.lowest, chart.highest, chart.begins, chart.ends) == (0, 100, TIMES[0], TIMES[4])


def test_readings_are_dots_that_no_line_connects() -> None:
    chart = drawn([Point(TIMES[3], 50)], [Point(TIMES[0], 10), Point(TIMES[1], 20)], TIMES[4], {})
    assert chart is not None
    assert [x for x, _ in chart.dots] == [0, WIDTH / 4]
    assert corners(chart.line)[0][0] == WIDTH * 3 / 4


def test_a_limit_is_drawn_only_if_it_is_near() -> None:
    steps = [Point(TIMES[0], 0), Point(TIMES[1], 1000)]
    chart = drawn(steps, [], TIMES[2], {"min_balance": -100, "max_balance": 10**15})
    assert chart is not None
    assert [level.name for level in chart.levels] == ["zero", "min_balance"]
    assert all(0 <= level.y <= HEIGHT for level in chart.levels)


def test_the_moment_shown_is_marked_where_it_is_within() -> None:
    steps = [Point(TIMES[1], 5)]
    marks = [drawn(steps, [], TIMES[3], {}, time) for time in (TIMES[2], TIMES[0], None)]
    assert [chart and chart.mark for chart in marks] == [WIDTH / 2, None, None]


def test_nothing_is_drawn_of_nothing_and_one_moment_needs_no_width() -> None:
    assert drawn([], [], TIMES[0], {}) is None
    alone = drawn([Point(TIMES[0], 0)], [], TIMES[0], {})
    assert alone is not None
    assert corners(alone.line)


def account(balance: int, available: int, least: int | None, most: int | None) -> dict[str, int | None]:
    return {"balance": balance, "available": available, "min_balance": least, "max_balance": most}


def test_the_bar_is_between_the_limits() -> None:
    bar = limits_bar.drawn(account(50, 25, 0, 100))
    assert bar == limits_bar.Bar(0, 0, limits_bar.WIDTH, 250, 500)


def test_a_side_without_a_limit_is_open() -> None:
    bar = limits_bar.drawn(account(80, 80, None, None))
    assert (bar.least, bar.most) == (None, None)
    assert 0 < bar.zero < bar.available == bar.balance < limits_bar.WIDTH


def test_an_account_past_its_limit_is_drawn_past_it() -> None:
    bar = limits_bar.drawn(account(-40, -40, 0, 100))
    assert bar.balance == 0 < (bar.least or 0)
