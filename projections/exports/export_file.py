"""Export files: read from the first line to the last, with look-ups in between, and without a database."""

import mmap
from collections.abc import Iterator
from itertools import chain
from typing import IO

from domain.transparency.export_format import (
    Attestation,
    Exported,
    Footer,
    Header,
    Malformed,
    read_begin,
    read_end,
    read_event,
    read_seal,
)
from projections.audit.stored import Stored, parsed


class ExportFile:
    """An export, mapped into memory. It keeps where transactions and payouts are, about 300 bytes for each.

    Raises `Malformed` if the file is empty, or if its first line or one of its last two is not that of an export.
    """

    def __init__(self, file: IO[bytes]) -> None:
        try:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise Malformed("the file is empty") from error
        self._first: dict[str, int] = {}
        self._later: dict[str, list[int]] = {}
        self.begin: Header = read_begin(self._line(0))
        seal_at = self._before(len(self._map))
        self._end_at = self._before(seal_at)
        self.end: Footer = read_end(self._line(self._end_at))
        self.seal: Attestation = read_seal(self._line(seal_at))

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines between the first and the last two, each with its byte offset in the file."""
        self._map.seek(0)
        place = len(self._map.readline())
        while place < self._end_at:
            line = self._map.readline()
            yield place, line[:-1]
            place += len(line)

    def remember(self, event: Exported, place: int) -> bool:
        """Note the offset of an event that may be looked up; return whether its stream may be new."""
        stream = event.stream
        if "/accounts/" in stream:
            return True
        if stream not in self._first:
            self._first[stream] = place
            return True
        self._later.setdefault(stream, []).append(place)
        return False

    def history(self, stream: str) -> list[Stored]:
        """Return the events noted so far of the stream of a transaction or payout, by version."""
        if stream not in self._first:
            return []
        found = []
        for place in chain([self._first[stream]], self._later.get(stream, ())):
            event, _ = read_event(self._line(place))
            found.append(parsed(event.stream, event.version, event.topic, event.state, event.position))
        return sorted(found, key=lambda stored: stored.version)

    def _line(self, place: int) -> bytes:
        end = self._map.find(b"\n", place)
        if end < 0:
            raise Malformed("the last line has no end: the file was cut off")
        return self._map[place:end]

    def _before(self, end: int) -> int:
        """Return the offset of the line that ends before `end`."""
        return self._map.rfind(b"\n", 0, max(end - 1, 0)) + 1
