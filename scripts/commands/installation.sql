-- name: ledgers
-- One descent of the index for each ledger, however many events there are. Stream names begin with the ledger's name
-- and a slash, and the character after a slash is 0 in this order.
WITH RECURSIVE found(stream) AS (
    SELECT min(originator_id) FROM events
    UNION ALL
    SELECT (SELECT min(originator_id) FROM events WHERE originator_id >= split_part(found.stream, '/', 1) || '0')
    FROM found WHERE found.stream IS NOT NULL
)
-- Events about keys belong to no ledger. Their stream names begin with a hyphen, and no ledger's name does.
SELECT split_part(stream, '/', 1) FROM found WHERE stream IS NOT NULL AND stream NOT LIKE '-/%%' ORDER BY 1;
