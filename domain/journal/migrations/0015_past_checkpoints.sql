-- Past checkpoints are found by their size and listed by when they were signed.
--
-- All of them are kept. One is signed only after something was recorded, so that a row of 400 bytes comes with at least
-- one event, which takes twice as much, and in a busy second with thousands. To thin them out, somebody would need the
-- right to delete what was once said to the outside; and whoever saved one finds exactly that one here.
CREATE INDEX checkpoints_by_size ON checkpoints (size, number);
CREATE INDEX checkpoints_by_time ON checkpoints (signed_at, number);
