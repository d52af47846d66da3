-- name: rights
-- What this session's role may do with the schema, and whether the schema exists. It is looked up by name, because a
-- schema that the role may not use is visible in no other way.
SELECT current_user, current_database(),
    has_database_privilege(current_database(), 'CREATE'),
    nspname IS NOT NULL,
    coalesce(has_schema_privilege(n.oid, 'USAGE'), false),
    coalesce(has_schema_privilege(n.oid, 'CREATE'), false),
    pg_get_userbyid(nspowner), pg_is_in_recovery()
FROM (SELECT 1) AS one LEFT JOIN pg_namespace n ON nspname = %(schema)s;

-- name: temporary_tables_are_open
-- Whether everybody may make temporary tables in this database, and this role may change that.
SELECT EXISTS (
    SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba)))
    WHERE grantee = 0 AND privilege_type = 'TEMPORARY'
) AND pg_has_role(datdba, 'USAGE') AND NOT pg_is_in_recovery()
FROM pg_database WHERE datname = current_database();

-- name: unpinned_routines
-- Routines without a search path of their own, trigger functions included: their caller decides where names are looked
-- up. In a body that is no text, names were looked up when the routine was made.
SELECT p.oid::regprocedure::text FROM pg_proc p
WHERE pronamespace = current_schema()::regnamespace AND prokind IN ('f', 'p') AND prosqlbody IS NULL
    AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE starts_with(setting, 'search_path='))
    AND pg_has_role(proowner, 'USAGE');

-- name: is_member
-- One row if the role exists and this session's role is a member of it.
SELECT 1 FROM pg_roles WHERE rolname = %(role)s AND pg_has_role(oid, 'MEMBER');
