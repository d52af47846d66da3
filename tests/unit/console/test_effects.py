"""What an event did: which events are of one command, which accounts it concerned, and how they differ."""

from typing import Any

from api.console.effects import accounts_of, effect, recorded_together


def event(position: int, cause: str, stream: str = "main/accounts/alice") -> dict[str, Any]:
    return {"position": position, "causation_id": cause, "stream": stream}


def account(**more: Any) -> dict[str, Any]:
    return {
        "asset": "USD/2",
        "posted": {"debits": 0, "credits": 0},
        "pending": {"debits": 0, "credits": 0},
        "balance": 0,
        "available": 0,
        "min_balance": None,
        "max_balance": None,
        "status": "open",
        "metadata": {},
        **more,
    }


def test_the_events_of_a_command_are_next_to_each_other_and_have_one_cause() -> None:
    events = [event(1, "a"), event(2, "b"), event(3, "b"), event(4, "b"), event(6, "b"), event(7, "a")]
    for position in (2, 3, 4):
        assert [each["position"] for each in recorded_together(position, events)] == [2, 3, 4]
    assert [each["position"] for each in recorded_together(6, events)] == [6]
    assert [each["position"] for each in recorded_together(1, events)] == [1]


def test_only_own_events_of_accounts_of_the_ledger_name_accounts() -> None:
    events = [
        event(1, "a", "main/accounts/users:alice"),
        event(2, "a", "main/accounts/world"),
        event(3, "a", "main/accounts/users:alice"),
        event(4, "a", "main/transactions/accounts"),
        event(5, "a", "other/accounts/bob"),
    ]
    assert accounts_of("main", events) == ["users:alice", "world"]


def test_only_what_differs_is_marked() -> None:
    was = account(metadata={"kept": "x", "gone": "y"})
    now = account(balance=5, available=5, status="frozen", metadata={"kept": "x", "new": "z"})
    found = effect("alice", was, now)
    assert found is not None
    changed = {line.label: (line.before, line.after) for line in found.lines if line.is_changed}
    assert changed == {
        "Balance": (0, 5),
        "Available": (0, 5),
        "Status": ("open", "frozen"),
        "Metadata gone": ("y", None),
        "Metadata new": (None, "z"),
    }


def test_an_account_that_was_not_open_has_nothing_before() -> None:
    found = effect("alice", None, account(max_balance=9))
    assert found is not None
    lines = {line.label: (line.before, line.after, line.is_changed) for line in found.lines}
    assert lines["Balance"] == (None, 0, True)
    assert lines["Highest balance allowed"] == (None, 9, True)
    assert lines["Lowest balance allowed"] == (None, None, False)
    assert effect("alice", None, None) is None
