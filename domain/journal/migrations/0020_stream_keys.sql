-- The index of streams has 16 bytes as its key in place of the name, so it is half as large, and so is the part of it
-- that must be in memory and that is logged anew after each checkpoint. Ids of transactions are made from the keys of
-- requests, so their places in either index are random.
--
-- What an index knows a stream by: the first 15 bytes of the SHA-256 of its name, with a byte that says how many. Clients
-- choose addresses and keys, and with a weaker hash somebody could choose two names with one key. The later of such
-- streams could not begin: its first event would be refused, and nothing else. To find two takes 2^60 attempts; ids of
-- transactions are UUIDs of version 5, of which two can be made alike with 2^61.
--
-- decode() of a text whose backslashes are doubled gives the bytes of the text, as convert_to() does, which may not be
-- indexed. The bodies are written so that PostgreSQL looks names up now, and not for each caller, and so that it puts
-- them in place of each call. It could do neither with a search path of their own.
CREATE FUNCTION stream_key(stream text) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN substring(sha256(decode(replace(stream, '\', '\\'), 'escape')) FOR 15);

-- The condition that finds the events of a stream by either index: `WHERE in_stream(originator_id, 'main/ledger')`.
-- The collation is the column's, without which the index by names would not be used.
CREATE FUNCTION in_stream(originator_id text, stream text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN stream_key(originator_id) = stream_key(stream) AND originator_id COLLATE "C" = stream;

-- Where an administrator has closed new functions to everybody, the service could not append without these rights, nor
-- read the journal as it was at a time.
GRANT EXECUTE ON FUNCTION stream_key(text), in_stream(text, text), decoded(bytea) TO :service;

-- A journal that has events keeps the index by names, since an older release knows no other. `tallystick migrate
-- --finish` makes the new ones, while the journal is written, and drops the old one (domain/journal/stream_index.py).
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM :schema.stored_events) THEN
        ALTER TABLE :schema.stored_events DROP CONSTRAINT events_pkey;
        CREATE UNIQUE INDEX events_stream ON :schema.stored_events (:schema.stream_key(originator_id), originator_version);
        CREATE INDEX events_ledgers ON :schema.stored_events (originator_id) WHERE topic = 'ledger.opened';
    END IF;
END;
$$;
