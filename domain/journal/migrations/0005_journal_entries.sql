-- The entries of all events that post: settlements and reversals beside postings.
CREATE OR REPLACE VIEW journal_entries AS
SELECT
    j.ledger,
    j.position,
    split_part(j.stream, '/', 3) AS transaction_id,
    entry.ordinality AS entry,
    entry.value ->> 'account' AS account,
    entry.value ->> 'asset' AS asset,
    entry.value ->> 'direction' AS direction,
    (entry.value ->> 'amount')::bigint AS amount,
    (entry.value ->> 'balance_after')::bigint AS balance_after,
    j.recorded_at,
    (j.payload ->> 'effective_at')::timestamptz AS effective_at,
    j.payload ->> 'reference' AS reference,
    CASE j.type
        WHEN 'transaction.posted' THEN 'posting'
        WHEN 'transaction.settlement_posted' THEN 'settlement'
        WHEN 'transaction.reversal_posted' THEN 'reversal'
    END AS kind
FROM journal j
CROSS JOIN LATERAL jsonb_array_elements(j.payload -> 'entries') WITH ORDINALITY AS entry
WHERE j.type IN ('transaction.posted', 'transaction.settlement_posted', 'transaction.reversal_posted');
