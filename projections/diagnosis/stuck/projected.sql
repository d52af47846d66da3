-- name: due
-- Only rows that the journal confirms: the projection may not have removed a finished one yet. A ledger that is not here
-- is asked for where it is.
SELECT d.due_at, d.ledger, d.id::text, d.position FROM due_v:version AS d
CROSS JOIN LATERAL (
    SELECT notification_id, topic FROM events WHERE in_stream(originator_id, d.ledger || '/transactions/' || d.id)
    ORDER BY originator_version DESC LIMIT 1
) AS last
WHERE d.due_at <= %(before)s AND last.notification_id = d.position AND last.topic = %(topic)s
AND (%(granted)s::text[] IS NULL OR d.ledger = ANY(%(granted)s::text[]))
AND NOT EXISTS (SELECT FROM absent_ledgers AS absent WHERE absent.ledger = d.ledger)
ORDER BY d.due_at, d.position LIMIT %(limit)s;

-- name: payouts
-- Age counts from the request, however often the provider was asked since. Payouts that the journal has moved on are
-- left out.
SELECT p.state, CASE WHEN p.state = 'stuck' THEN p.changed_at ELSE made.recorded_at END AS since, p.ledger, p.id::text,
    p.position, p.provider, p.receiver
FROM payouts_v:version AS p
CROSS JOIN LATERAL (
    SELECT (decoded(state) ->> 'recorded_at')::timestamptz AS recorded_at FROM events
    WHERE notification_id = p.made_position LIMIT 1
) AS made
CROSS JOIN LATERAL (
    SELECT notification_id FROM events WHERE in_stream(originator_id, p.ledger || '/payouts/' || p.id)
    ORDER BY originator_version DESC LIMIT 1
) AS last
WHERE p.state NOT IN ('completed', 'failed', 'rejected') AND last.notification_id = p.position
AND (p.state = 'stuck') = %(is_stuck)s AND (p.state = 'stuck' OR made.recorded_at <= %(before)s)
AND (%(granted)s::text[] IS NULL OR p.ledger = ANY(%(granted)s::text[]))
AND NOT EXISTS (SELECT FROM absent_ledgers AS absent WHERE absent.ledger = p.ledger)
ORDER BY since, p.position LIMIT %(limit)s;
