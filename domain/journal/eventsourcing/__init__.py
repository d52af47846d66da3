"""The same journal behind the eventsourcing library's interfaces."""
