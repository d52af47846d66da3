"""What was changed about an account, in words."""

from typing import Any

from api.console.pages.books.changes import changes_of


def event(position: int, type: str, **payload: Any) -> dict[str, Any]:
    return {"position": position, "type": f"account.{type}", "payload": payload}


OPENED = event(1, "opened", min_balance=0, max_balance=None)
LOWERED = event(5, "limits_changed", min_balance=-5000, max_balance=None)
CAPPED = event(9, "limits_changed", min_balance=-5000, max_balance=100)


def test_a_change_of_limits_tells_the_former_and_the_new_one() -> None:
    told = changes_of([CAPPED, OPENED, LOWERED], "USD/2", is_whole=True)
    assert [change.words for change in told] == [
        "max_balance changed from no limit to 1.00",
        "min_balance changed from 0.00 to −50.00",
        "opened",
    ]
    assert [change.event["position"] for change in told] == [9, 5, 1]


def test_the_former_limits_are_left_out_where_they_are_not_known() -> None:
    told = changes_of([OPENED, CAPPED, LOWERED], "USD/2", is_whole=False)
    assert told[1].words == "min_balance set to −50.00, max_balance set to no limit"
    assert told[0].words == "max_balance changed from no limit to 1.00"


def test_an_event_that_cannot_be_read_is_still_told() -> None:
    unreadable = {"position": 3, "type": "account.frozen", "payload": None}
    assert [change.words for change in changes_of([unreadable], "USD/2", is_whole=True)] == ["frozen"]
