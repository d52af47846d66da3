-- name: processes
-- Those of no database, such as the one that writes the log, work for this database too.
SELECT pid, coalesce(application_name, '') FROM pg_stat_activity
WHERE datname = current_database() OR datname IS NULL;
