-- name: is_standby
SELECT pg_is_in_recovery();

-- name: make_roles
-- The service's login owns only the schemas of its installations. It may create schemas and read the server's
-- statistics. It may become the service's role, which does the work.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tallystick') THEN
        CREATE ROLE tallystick;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tallystick_service') THEN
        CREATE ROLE tallystick_service NOLOGIN;
    END IF;
    ALTER ROLE tallystick LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS;
    GRANT tallystick_service TO tallystick WITH INHERIT TRUE, SET TRUE;
    GRANT pg_monitor TO tallystick;
    EXECUTE format('GRANT CONNECT, CREATE ON DATABASE %I TO tallystick', current_database());
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END;
$$;

-- name: hand_over
-- Objects that an older release made as the superuser become the login's. The sequence of an identity column follows
-- its table.
DO $$
DECLARE
    installation record;
    found record;
BEGIN
    FOR installation IN
        SELECT n.oid, n.nspname, n.nspowner FROM pg_namespace n WHERE 3 = (
            SELECT count(*) FROM pg_class
            WHERE relnamespace = n.oid AND relkind IN ('r', 'v') AND relname IN ('migrations', 'events', 'head')
        )
    LOOP
        IF pg_get_userbyid(installation.nspowner) = current_user THEN
            EXECUTE format('ALTER SCHEMA %I OWNER TO tallystick', installation.nspname);
        END IF;
        FOR found IN
            SELECT c.oid, relname FROM pg_class c
            WHERE relnamespace = installation.oid AND pg_get_userbyid(relowner) = current_user
                AND relkind IN ('r', 'p', 'v', 'm', 'S')
                AND NOT EXISTS (
                    SELECT FROM pg_depend WHERE objid = c.oid AND relkind = 'S' AND deptype IN ('a', 'i')
                        AND classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
                )
        LOOP
            EXECUTE format('ALTER TABLE %I.%I OWNER TO tallystick', installation.nspname, found.relname);
        END LOOP;
        FOR found IN
            SELECT p.oid::regprocedure AS routine FROM pg_proc p
            WHERE pronamespace = installation.oid AND pg_get_userbyid(proowner) = current_user
        LOOP
            EXECUTE format('ALTER ROUTINE %s OWNER TO tallystick', found.routine);
        END LOOP;
    END LOOP;
END;
$$;
