-- Guards look where they mean to, whoever sets them off: each function names the schema of every table that it reads,
-- and resolves all other names in pg_catalog alone.
--
-- Without that it would look where the session does. Temporary tables come first there, so that a service role's own
-- `checkpoints` would have been asked instead of what was signed. And that role may make functions in the schema, so that
-- one of a closer type would be called in place of the server's, with the rights of whoever reads the view `journal`.

CREATE OR REPLACE FUNCTION refuse_to_rewrite_history() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the journal is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END;
$$;

CREATE OR REPLACE FUNCTION refuse_to_move_back() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.position >= OLD.position AND NEW.recorded_at >= OLD.recorded_at THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the head of the journal never moves back' USING ERRCODE = 'restrict_violation';
END;
$$;

CREATE OR REPLACE FUNCTION decoded(state bytea) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN convert_from(state, 'UTF8')::jsonb;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END;
$$;

CREATE OR REPLACE FUNCTION count_held_streams() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE :schema.projection_versions AS v
    SET held_streams = held_streams + CASE WHEN NEW.state = 'open' THEN 1 ELSE -1 END
    WHERE v.name = NEW.projection AND v.version = NEW.projection_version;
    RETURN NULL;
END;
$$;

CREATE OR REPLACE FUNCTION refuse_to_reopen() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'a dead letter that is closed is never changed: % is refused', TG_OP
        USING ERRCODE = 'restrict_violation';
END;
$$;

CREATE OR REPLACE FUNCTION supersede_dead_letters() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE :schema.dead_letters SET state = 'superseded', closed_at = now()
    WHERE projection = OLD.name AND projection_version = OLD.version AND state = 'open';
    RETURN NULL;
END;
$$;

CREATE OR REPLACE FUNCTION refuse_to_contradict() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    newest record;
BEGIN
    SELECT size, root INTO newest FROM :schema.checkpoints ORDER BY number DESC LIMIT 1;
    IF NEW.size < newest.size OR NEW.size = newest.size AND NEW.root <> newest.root THEN
        RAISE EXCEPTION 'a checkpoint of size % contradicts the one of size % before it', NEW.size, newest.size
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END;
$$;

CREATE OR REPLACE FUNCTION refuse_to_change() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'what is signed is never changed: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END;
$$;
