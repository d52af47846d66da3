-- What is signed of the journal: who signs, with which keys, and every checkpoint that ever was.

-- The name under which this installation signs. It never changes: the notes of its whole past bear it.
CREATE TABLE installation (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO installation DEFAULT VALUES;

-- The keys that have signed, the newest last. A key that was made here has its seed; of one that is given in the
-- environment nothing but the public half is ever kept.
CREATE TABLE signing_keys (
    number int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_key bytea NOT NULL UNIQUE CHECK (length(public_key) = 32),
    seed bytea CHECK (length(seed) = 32),
    added_at timestamptz NOT NULL DEFAULT now()
);

-- Every checkpoint that was signed. They cannot be derived from the journal: what was said once to the outside must
-- never be contradicted, whatever becomes of the tree that it was read from.
CREATE TABLE checkpoints (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    size bigint NOT NULL CHECK (size >= 0),
    root bytea NOT NULL CHECK (length(root) = 32),
    note text NOT NULL,
    signed_at timestamptz NOT NULL DEFAULT now()
);

-- Whether a larger tree has grown out of a smaller one, its signer proves before it signs; that it is none smaller, and
-- no other of the same size, is refused here whoever it is that signs.
CREATE FUNCTION refuse_to_contradict() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    newest record;
BEGIN
    SELECT size, root INTO newest FROM checkpoints ORDER BY number DESC LIMIT 1;
    IF NEW.size < newest.size OR NEW.size = newest.size AND NEW.root <> newest.root THEN
        RAISE EXCEPTION 'a checkpoint of size % contradicts the one of size % before it', NEW.size, newest.size
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END;
$$;

CREATE TRIGGER checkpoints_never_contradict BEFORE INSERT ON checkpoints
    FOR EACH ROW EXECUTE FUNCTION refuse_to_contradict();

CREATE FUNCTION refuse_to_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what is signed is never changed: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END;
$$;

CREATE TRIGGER installation_is_never_changed BEFORE UPDATE OR DELETE ON installation
    FOR EACH ROW EXECUTE FUNCTION refuse_to_change();
CREATE TRIGGER installation_is_never_truncated BEFORE TRUNCATE ON installation
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change();
CREATE TRIGGER signing_keys_are_never_changed BEFORE UPDATE OR DELETE ON signing_keys
    FOR EACH ROW EXECUTE FUNCTION refuse_to_change();
CREATE TRIGGER signing_keys_are_never_truncated BEFORE TRUNCATE ON signing_keys
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change();
CREATE TRIGGER checkpoints_are_never_changed BEFORE UPDATE OR DELETE ON checkpoints
    FOR EACH ROW EXECUTE FUNCTION refuse_to_change();
CREATE TRIGGER checkpoints_are_never_truncated BEFORE TRUNCATE ON checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change();

GRANT SELECT ON installation TO :service;
GRANT SELECT, INSERT ON signing_keys, checkpoints TO :service;
