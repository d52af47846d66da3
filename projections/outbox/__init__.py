"""The outbox: the journal's events told to others, to each in order and at least once, every attempt recorded.

The journal is the outbox, so nothing is written twice to be told: the projection `outbox` (`owed.py`) finds which
events are owed to which webhook, a publisher (`publisher.py`) delivers them, and NATS JetStream is fed from the journal
itself (`jetstream.py`).
"""
