-- name: sizes
-- In pages, of the largest version there is of each, as they were when last counted: to count them anew would wait for
-- whoever has locked a table.
SELECT name, max(pages) FROM (
    SELECT v.name, v.version, sum(t.relpages + coalesce(parts.relpages, 0)) AS pages
    FROM projection_versions AS v CROSS JOIN unnest(v.tables) AS called
    JOIN pg_class AS t ON t.oid = to_regclass(called)
    LEFT JOIN pg_class AS parts ON parts.oid = t.reltoastrelid
    WHERE v.name = ANY(%(names)s::text[]) GROUP BY v.name, v.version
) AS version GROUP BY name;

-- name: divided
SELECT count(*), max(upto) FROM rebuild_parts WHERE name = %(name)s AND version = %(version)s;

-- name: divide
-- Divides only an empty version, and only once: whoever adds the first part adds the others.
WITH first AS (
    INSERT INTO rebuild_parts (name, version, number, parts, upto)
    SELECT name, version, 0, %(parts)s, %(upto)s FROM projection_versions
    WHERE name = %(name)s AND version = %(version)s AND state = 'rebuilding' AND position = 0
    ON CONFLICT DO NOTHING
    RETURNING *
)
INSERT INTO rebuild_parts (name, version, number, parts, upto)
SELECT f.name, f.version, n, f.parts, f.upto FROM first AS f CROSS JOIN generate_series(1, %(parts)s - 1) AS n;
