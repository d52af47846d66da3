"""The catalogue of findings: each code with its kind. A code keeps its meaning."""

from collections.abc import Mapping

from scripts.doctor.catalogue import (
    examination,
    export,
    installation,
    journal,
    outbox,
    projections,
    server,
    witnesses,
)
from scripts.doctor.catalogue.kind import Kind

CATALOGUE: Mapping[str, Kind] = {
    **examination.KINDS,
    **installation.KINDS,
    **server.KINDS,
    **projections.KINDS,
    **outbox.KINDS,
    **journal.KINDS,
    **export.KINDS,
    **witnesses.KINDS,
}
