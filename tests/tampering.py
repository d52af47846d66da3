"""Changes of the journal's events that only a malicious superuser can make."""

from typing import Any

from psycopg import Connection


def disarm(owner: Connection[Any]) -> None:
    """Let this session change events in `stored_events`, where each is whole then: a change of one changes no other."""
    owner.execute("SET session_replication_role = replica")
    owner.execute(
        "UPDATE stored_events AS s SET state = e.state, shares = NULL FROM events AS e"
        " WHERE e.notification_id = s.notification_id AND s.shares IS NOT NULL"
    )


def arm(owner: Connection[Any]) -> None:
    """Let triggers protect the journal from this session again."""
    owner.execute("SET session_replication_role = origin")
