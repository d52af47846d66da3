"""The outbox: delivers the journal's events to receivers, in order, at least once, with every attempt recorded.

The journal is the outbox, so nothing is written a second time for delivery. The projection `outbox`
(`read_models/outbox.py`) finds which events are owed to which webhook. A publisher (`publisher.py`) delivers them. NATS
JetStream is fed directly from the journal (`jetstream.py`).
"""
