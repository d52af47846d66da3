-- name: writers
-- How many API processes have a session in which they write, or would if nobody committed for them.
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'tallystick writer' AND datname = current_database()
