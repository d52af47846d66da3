-- name: groups
-- Planned each time with its values, so that null filters vanish and a prefix becomes a range of the primary key: the
-- characters of an address all sort below `~`. If one group follows another in the list, all its addresses sort after
-- the other's name, because they begin with their own group's name. So `from_address`, which is null if the list is
-- read backwards, skips the groups of the pages before.
SELECT name, asset, count(*), sum(posted_debits)::text, sum(posted_credits)::text,
    (sum(posted_credits) - sum(posted_debits))::text
FROM (
    SELECT asset, posted_debits, posted_credits, CASE
        WHEN %(segments)s::int IS NULL THEN ''
        ELSE array_to_string((string_to_array(address, ':'))[:%(segments)s::int], ':')
    END COLLATE "C" AS name
    FROM balances_v:version
    WHERE ledger = %(ledger)s
    AND (%(prefix)s::text IS NULL OR address >= %(prefix)s AND address < %(prefix)s || '~')
    AND (%(from_address)s::text IS NULL OR address >= %(from_address)s)
    AND (%(asset)s::text IS NULL OR asset = %(asset)s)
) AS accounts
WHERE %(after_name)s::text IS NULL OR (name, asset) :beyond (%(after_name)s, %(after_asset)s::text)
GROUP BY name, asset
ORDER BY name :order, asset :order LIMIT %(limit)s;
