-- name: lock_head
-- The holder of this row's lock is the writer, so positions are given out in commit order, without gaps. `asked_at` is
-- the server's time when the statement arrived, however long it then waited for the lock. `has_standby` says whether a
-- commit waits for a synchronous standby.
SELECT position, recorded_at, extract(epoch FROM statement_timestamp())::float8 AS asked_at,
    current_setting('synchronous_standby_names') <> '' AS has_standby
FROM head FOR UPDATE;

-- name: lock_to_record
-- For writers that record events beside changes of other tables, in one transaction. They use the database's clock: it
-- is the same for all of them, and it also dates their changes. It is read after the lock is taken.
WITH locked AS MATERIALIZED (SELECT position, recorded_at FROM head FOR UPDATE)
SELECT position, recorded_at, clock_timestamp(), current_schema() || '_journal' FROM locked;

-- name: versions
SELECT stream, coalesce(
    (SELECT max(originator_version) FROM events WHERE in_stream(originator_id, stream)), 0
) FROM unnest(%(streams)s::text[]) AS stream;

-- name: append
-- Move the head to the last of these rows, append them after it, and announce it if asked to. No row is returned if
-- nothing was done. It is one statement, so that a writer that guesses the head needs no transaction around it, and the commit is one round
-- trip. The insertion reads from `moved`, so that the lock on the head is taken before it: an insertion without the lock
-- could wait for a writer that waits for us. The commit sends the notification, so a follower that it wakes finds the
-- events.
-- Parameters are typed arrays instead of rows of placeholders: one prepared statement serves any number of events, with
-- binary parameters. PostgreSQL takes 25 µs for the three rows of a transfer, and with COPY too; indexes are 10 of
-- them.
-- Nothing is done if the head is elsewhere, nor for a writer whose clock is wrong. Recorded time never runs back, so
-- one event dated next year would date all later ones, and end every hold. `clock` is the writer's clock `age_seconds`
-- ago. It is compared with the arrival of the statement, so that waiting for the lock does not count. `recorded_at` may
-- be later than that clock only if it is the head's. Without a limit neither is checked.
WITH moved AS (
    UPDATE head SET position = %(last)b::bigint, recorded_at = %(recorded_at)s::text
    WHERE position = %(after)b::bigint AND coalesce(
        abs(extract(epoch FROM statement_timestamp() - %(clock)s::timestamptz) - %(age_seconds)s::float8) <= %(limit)s
        AND (
            recorded_at = %(recorded_at)s::text
            OR extract(epoch FROM %(recorded_at)s::text::timestamptz - statement_timestamp()) <= %(limit)s::float8
        ), %(limit)s::float8 IS NULL
    )
    RETURNING position
), appended AS (
    INSERT INTO stored_events (originator_id, originator_version, topic, state, notification_id, shares)
    SELECT stream, version, topic, state, %(after)b::bigint + number, nullif(shares, -1)
    FROM moved
    CROSS JOIN unnest(
        %(streams)b::text[], %(versions)b::bigint[], %(topics)b::text[], %(states)b::bytea[], %(shares)b::bigint[]
    ) WITH ORDINALITY AS event (stream, version, topic, state, shares, number)
)
SELECT true AS is_appended, CASE WHEN %(announces)s THEN pg_notify(%(channel)s, position::text) END AS pg_notify
FROM moved;

-- name: announce
-- Nothing is written that must last, so the commit waits for no disk and no standby.
SELECT pg_notify(%(channel)s, position::text) AS is_announced FROM head;

-- name: head
SELECT position FROM head;

-- name: stored_after
-- Tells whether a commit whose acknowledgement was lost took place. Another writer may have recorded some of the same
-- events at the same positions, so all are compared.
SELECT originator_id, originator_version, topic, state, coalesce(shares, -1)
FROM stored_events WHERE notification_id > %(after)s::bigint AND notification_id <= %(last)s::bigint
ORDER BY notification_id;

-- name: stored_positions
SELECT notification_id FROM events
WHERE in_stream(originator_id, %(stream)s) AND originator_version = %(version)s AND state = %(state)s;

-- name: missed
-- What others appended since this writer last looked, but for transactions, of which it keeps none between two batches.
-- The states that are shown are small, because a movement has nothing in it that grows, and they are enough without the
-- envelopes. Who finds another event loads its stream when it is needed.
SELECT originator_id, originator_version, topic,
    CASE WHEN shares IS NOT NULL AND topic = ANY(%(movements)b::text[]) THEN state END, notification_id
FROM stored_events
WHERE notification_id > %(after)b AND notification_id <= %(until)b
AND topic NOT LIKE 'transaction.%%'
ORDER BY notification_id;

-- name: knows_fences
-- Held by each writer that refuses commands for fenced ledgers, for as long as its session lasts: whoever moves a ledger
-- sees by it that no other writer is connected (domain/placement/moves.sql).
SELECT pg_advisory_lock_shared(hashtextextended('tallystick fences', 0));

-- name: fences
SELECT ledger, state, installation FROM fenced_ledgers;

-- name: states
SELECT notification_id, state FROM stored_events WHERE notification_id = ANY(%(positions)s);

-- name: present
-- What to load, for streams as they are now: `load` stops at a version, and no version is as high as this one.
SELECT stream, 9223372036854775807 FROM unnest(%(streams)b::text[]) AS stream;

-- name: beginnings
-- What to load, for the first event of each stream. The cost does not grow with the length of a stream.
SELECT stream, 1::bigint FROM unnest(%(streams)b::text[]) AS stream;

-- name: load
-- Loads whole batches of streams. For each stream: the newest snapshot that this release can read, then the events
-- after it, both only up to the version until which the stream is wanted.
-- LATERAL, because a join with unnest is planned as a sequential scan of the journal until its first ANALYZE (measured
-- at 600,000 rows: 143 ms, and 2 ms with LATERAL). Only accounts have snapshots. Not looking for others saves a third
-- of the time, because most uncached streams belong to transactions that do not exist yet.
SELECT s.stream, found.*
FROM (:wanted) AS s(stream, until)
LEFT JOIN LATERAL (
    SELECT originator_version, topic, state FROM snapshots
    WHERE s.stream LIKE '%%/accounts/%%' AND originator_id = s.stream AND originator_version <= s.until
    AND topic = ANY(%(snapshot_topics)b)
    ORDER BY originator_version DESC LIMIT 1
) AS snapshot ON true
CROSS JOIN LATERAL (
    SELECT snapshot.originator_version AS version, snapshot.topic, snapshot.state, 0::bigint AS position,
        NULL::smallint AS shares, NULL::bytea AS base
    WHERE snapshot.originator_version IS NOT NULL
    UNION ALL
    (
        SELECT originator_version, topic, state, notification_id, shares, base FROM abbreviated_events
        WHERE in_stream(originator_id, s.stream)
        AND originator_version > coalesce(snapshot.originator_version, 0) AND originator_version <= s.until
        ORDER BY originator_version
    )
) AS found;

-- name: read
-- `load` for readers, who also want the head at the same instant: one statement sees one state of the database. The
-- head always leaves a row; a stream without events leaves none. So does a ledger that is elsewhere. `must_confirm` says
-- whether a commit waits for a synchronous standby: then a row that is seen may not be replicated (session.py).
SELECT head.position, absent.state, absent.installation, (:must_confirm) AS must_confirm, found.*
FROM head
LEFT JOIN absent_ledgers AS absent ON absent.ledger = %(ledger)b::text
LEFT JOIN LATERAL (:load) AS found ON true;

-- name: must_confirm
SELECT current_setting('synchronous_standby_names') <> '' AND NOT pg_is_in_recovery();

-- name: past
-- What to load, for one stream as it was at the place that `read_past` finds, beside other streams as they are now.
SELECT %(past_stream)b::text, place.version UNION ALL :present;

-- name: read_past
-- `read`, with one stream as it was at a position, or at the last position recorded at or before an instant. Binary
-- search finds position and version, in about twenty look-ups each. It works because positions and versions have no
-- gaps, and recorded time and the positions of a stream rise with them. The times of copied events are older than those
-- around them, so the head's stands in for them. An index on stream and position would burden every append instead. A
-- missing event, or one whose time cannot be read, ends the search: then there is no place.
WITH RECURSIVE by_time (low, high) AS (
    SELECT coalesce(%(position)b::bigint, 0), coalesce(%(position)b::bigint, position) FROM head
    UNION ALL
    SELECT
        CASE WHEN recorded_at <= %(recorded_at)b::text THEN middle ELSE low END,
        CASE WHEN recorded_at > %(recorded_at)b::text THEN middle - 1 ELSE high END
    FROM by_time
    CROSS JOIN LATERAL (SELECT (low + high + 1) / 2 AS middle) AS half
    CROSS JOIN LATERAL (
        SELECT coalesce(copied_at(middle), decoded(state) ->> 'recorded_at') COLLATE "C" AS recorded_at
        FROM events WHERE notification_id = middle OFFSET 0
    ) AS event
    WHERE low < high AND recorded_at IS NOT NULL
), by_position (position, low, high) AS (
    SELECT low, 0::bigint, coalesce(
        (SELECT max(originator_version) FROM events WHERE in_stream(originator_id, %(past_stream)b::text)), 0
    ) FROM by_time WHERE low = high
    UNION ALL
    SELECT
        position,
        CASE WHEN notification_id <= position THEN middle ELSE low END,
        CASE WHEN notification_id > position THEN middle - 1 ELSE high END
    FROM by_position
    CROSS JOIN LATERAL (SELECT (low + high + 1) / 2 AS middle) AS half
    CROSS JOIN LATERAL (
        SELECT notification_id
        FROM events WHERE in_stream(originator_id, %(past_stream)b::text) AND originator_version = middle OFFSET 0
    ) AS event
    WHERE low < high
)
SELECT
    head.position, absent.state, absent.installation, (:must_confirm) AS must_confirm, head.recorded_at, place.position,
    found.*
FROM head
LEFT JOIN absent_ledgers AS absent ON absent.ledger = %(ledger)b::text
LEFT JOIN (SELECT position, low FROM by_position WHERE low = high) AS place (position, version) ON true
LEFT JOIN LATERAL (:load) AS found ON true;

-- name: has_copies
SELECT EXISTS (SELECT FROM position_ranges WHERE ledger = %(ledger)s);

-- name: read_past_of_copies
-- `read_past`, at an instant, for a ledger whose events were copied here: the times of a stream rise with its versions
-- wherever its events were recorded. The position is that of the stream's own last event, 0 if it had none.
WITH RECURSIVE by_version (low, high) AS (
    SELECT 0::bigint, coalesce(
        (SELECT max(originator_version) FROM events WHERE in_stream(originator_id, %(past_stream)b::text)), 0
    )
    UNION ALL
    SELECT
        CASE WHEN recorded_at <= %(recorded_at)b::text THEN middle ELSE low END,
        CASE WHEN recorded_at > %(recorded_at)b::text THEN middle - 1 ELSE high END
    FROM by_version
    CROSS JOIN LATERAL (SELECT (low + high + 1) / 2 AS middle) AS half
    CROSS JOIN LATERAL (
        SELECT (decoded(state) ->> 'recorded_at') COLLATE "C" AS recorded_at
        FROM events WHERE in_stream(originator_id, %(past_stream)b::text) AND originator_version = middle OFFSET 0
    ) AS event
    WHERE low < high AND recorded_at IS NOT NULL
)
SELECT
    head.position, absent.state, absent.installation, (:must_confirm) AS must_confirm, head.recorded_at, place.position,
    found.*
FROM head
LEFT JOIN absent_ledgers AS absent ON absent.ledger = %(ledger)b::text
LEFT JOIN (
    SELECT low, coalesce((
        SELECT notification_id FROM events
        WHERE in_stream(originator_id, %(past_stream)b::text) AND originator_version = low
    ), 0) FROM by_version WHERE low = high
) AS place (version, position) ON true
LEFT JOIN LATERAL (:load) AS found ON true;

-- name: keep_snapshots
-- Two processes may take the same snapshot.
INSERT INTO snapshots (originator_id, originator_version, topic, state)
SELECT stream, version, %(topic)s, state
FROM unnest(%(streams)b::text[], %(versions)b::bigint[], %(states)b::bytea[]) AS s(stream, version, state)
ON CONFLICT DO NOTHING;
