-- What the tables of a version look like. A release that wants another shape than that of the live version makes a new
-- version, since it could not read the old one.
ALTER TABLE projection_versions ADD COLUMN shape int NOT NULL DEFAULT 1 CHECK (shape > 0);
