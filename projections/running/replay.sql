-- name: replay
-- Whether the server follows a primary, and for how long what it last replayed has been committed, 0 if it has replayed
-- all that it has received over a connection that stands. The time of the last commit alone would grow while nobody
-- writes. Any login may see that there is a receiver; only pg_monitor sees more of it.
SELECT pg_is_in_recovery(), CASE
    WHEN NOT pg_is_in_recovery() THEN 0
    WHEN pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0
    ELSE greatest(0, extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()))
END::double precision;
