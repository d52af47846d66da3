-- Since when a version of a projection fails, and when it last did: last_error alone does not tell whether somebody goes
-- on trying. They say something only while there is a last_error. A release that does not know them leaves them as they
-- are.
ALTER TABLE projection_versions
    ADD COLUMN failing_since timestamptz,
    ADD COLUMN failed_at timestamptz;
