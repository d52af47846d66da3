"""The journal: the append-only store of events in PostgreSQL, the only truth.

Built on the eventsourcing library's contracts of recorder, mapper, tracking and snapshots, so that its documentation
and its conformance tests hold here (DESIGN.md, The journal).
"""
