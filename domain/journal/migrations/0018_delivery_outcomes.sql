-- How many attempts to deliver ended how. Whoever watches the service reads it every few seconds, and counting
-- delivery_attempts would take longer with each event. A release that does not know it does not count here.
CREATE TABLE delivery_outcomes (
    outcome text PRIMARY KEY CHECK (outcome IN ('acknowledged', 'failed')),
    attempts bigint NOT NULL
);
INSERT INTO delivery_outcomes (outcome, attempts)
SELECT ended.outcome, (SELECT count(*) FROM delivery_attempts AS a WHERE a.outcome = ended.outcome)
FROM unnest(ARRAY['acknowledged', 'failed']) AS ended (outcome);
GRANT SELECT, UPDATE ON delivery_outcomes TO :service;
