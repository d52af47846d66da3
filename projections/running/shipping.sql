-- name: is_followed
-- Any login may see that there are followers; only pg_monitor sees more of them.
SELECT EXISTS (SELECT FROM pg_stat_get_wal_senders());

-- name: ship
-- A transaction that waits for the disk of this server, and so for everything that was committed before. The message,
-- which nobody reads, is what it writes: a transaction that writes nothing waits for nothing.
SELECT set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, 'tallystick', '');
