-- name: moved
-- One that is copied, or not written for a moment, is present. One that never moved has no row, and none is needed: it
-- could not have left another installation.
SELECT ledger, CASE WHEN state IN ('left', 'arriving') THEN state ELSE 'present' END, installation,
    changed_at < clock_timestamp() - make_interval(secs => %(seconds)s)
FROM ledger_moves;
