"""The outbox: the journal's events told to others, to each in order and at least once, every attempt recorded.

The journal is the outbox, so nothing is written twice to be told. The projection `outbox` (`read_models/outbox.py`)
finds which events are owed to which webhook. A publisher (`publisher.py`) delivers them. NATS JetStream is fed from the
journal itself (`jetstream.py`).
"""
