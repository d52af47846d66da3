-- Past checkpoints are found by their size and listed by when they were signed.
--
-- All of them are kept. One is signed only after something was recorded, at most one a second: 440 bytes with its
-- indexes, 14 GB in a year without an idle second. With each came at least one event, which takes twice as much, so
-- they are never more than a third of all that is kept, and next to nothing under load. To thin them out somebody
-- would need the right to delete what was said to the outside; and whoever saved one finds exactly that one here.
CREATE INDEX checkpoints_by_size ON checkpoints (size, number);
CREATE INDEX checkpoints_by_time ON checkpoints (signed_at, number);
