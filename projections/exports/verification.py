"""Verifying an export: that it is what was signed, and that its journal keeps the rules of a ledger.

It needs only the file, and for signatures a key kept somewhere else. `projections/audit` judges the events. It shares
no code with the ledger that wrote them.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from domain.model.times import Instant
from domain.transparency.checkpoints import Checkpoint, open_checkpoint, tidied
from domain.transparency.export_format import Exported, Malformed, hashes, read_event
from domain.transparency.merkle_tree import Accumulator, verify_consistency
from domain.transparency.signed_notes import InvalidNote, MalformedNote, Verifier
from projections.audit.rules import broken
from projections.audit.stored import parsed
from projections.exports.export_file import ExportFile
from projections.exports.shown_ranges import ShownRanges
from projections.read_models.event_keys import content_of

MAX_SHOWN = 5
"""How many findings of one code are kept in words. All are counted."""


class Fault(NamedTuple):
    """Something wrong: a stable code, how often it was found, and the first findings in words."""

    code: str
    times: int
    words: tuple[str, ...]


class Verified(NamedTuple):
    """The result of a verification: the positions read, the root of their tree, what is signed, and what is wrong.

    `signed` is the checkpoint in the file, `saved` the largest of those given by the caller. Each is None unless a
    known key signed it. `shown` says in words what the saved checkpoints prove, and is empty if they prove nothing.
    `agreed` is the largest saved checkpoint that was found to have the events of the file, and `contradicted` the first
    that was found to have others, or more than there are. None if there is no such one.
    """

    since: int
    until: int
    root: bytes
    signed: Checkpoint | None
    saved: Checkpoint | None
    shown: str
    agreed: Checkpoint | None
    contradicted: Checkpoint | None
    found: Sequence[Fault]


class Moment(NamedTuple):
    """A span of recorded time, both ends included."""

    since: Instant
    until: Instant


def verify(
    file: ExportFile,
    verifiers: Sequence[Verifier] = (),
    saved: Sequence[str] = (),
    sealing: Moment | None = None,
    former: Sequence[Verifier] = (),
) -> Verified:
    """Verify an export, and that it continues the history of the checkpoints that were saved earlier.

    Without `verifiers`, the keys in the file are used. `former` are keys that count for saved checkpoints too. Events
    recorded during `sealing` need not be signed yet.
    Everything wrong is in the result; nothing is raised.
    """
    return _Verification(file, verifiers, sealing, former).run(saved)


class _Verification:
    """One reading of a file, and what was found so far."""

    def __init__(
        self,
        file: ExportFile,
        verifiers: Sequence[Verifier],
        sealing: Moment | None,
        former: Sequence[Verifier],
    ) -> None:
        self._file = file
        self._verifiers = list(verifiers)
        self._former = former
        self._agreed: Checkpoint | None = None
        self._contradicted: Checkpoint | None = None
        self._sealing = sealing
        self._times_of: dict[int, Instant | None] = {}
        self._shown = ""
        self._times: defaultdict[str, int] = defaultdict(int)
        self._words: defaultdict[str, list[str]] = defaultdict(list)
        self._tree = Accumulator()
        self._roots: dict[int, bytes] = {}

    def run(self, saved: Sequence[str]) -> Verified:
        begin = self._file.begin
        self._resume()
        if not self._verifiers:
            self._take_keys()
        signed = self._opened(self._file.seal.checkpoint, "the checkpoint of the file")
        opened = (self._opened(note, "a checkpoint that was saved", is_saved=True) for note in saved)
        earlier = sorted(filter(None, opened), key=lambda checkpoint: checkpoint.size)
        self._roots = {checkpoint.size: b"" for checkpoint in (signed, *earlier) if checkpoint}
        self._times_of = {checkpoint.size: None for checkpoint in earlier}
        if signed:
            self._times_of[signed.size + 1] = None
        self._note_root()
        self._judge()
        self._compare_end()
        self._compare_signed(signed)
        self._compare_saved(earlier, signed)
        found = [Fault(code, times, tuple(self._words[code])) for code, times in self._times.items()]
        newest = earlier[-1] if earlier else None
        return Verified(
            begin.since,
            begin.until,
            self._tree.root,
            signed,
            newest,
            self._shown,
            self._agreed,
            self._contradicted,
            found,
        )

    def find(self, code: str, words: str) -> None:
        """Count a finding, and keep its words if it is among the first of its code."""
        self._times[code] += 1
        if len(self._words[code]) < MAX_SHOWN:
            self._words[code].append(words)

    def _resume(self) -> None:
        begin = self._file.begin
        try:
            self._tree = Accumulator.resumed(begin.since - 1, hashes(begin.peaks))
        except ValueError as error:
            self.find("export_malformed", f"the first line: {error}")
            self._tree.size = begin.since - 1

    def _take_keys(self) -> None:
        try:
            self._verifiers = [Verifier.parse(line) for line in self._file.seal.verifiers]
        except InvalidNote as error:
            self.find("export_malformed", f"the keys in the last line: {error}")

    def _opened(self, note: str | None, name: str, *, is_saved: bool = False) -> Checkpoint | None:
        """Return a checkpoint signed by a known key. The white space of a saved one may have changed, and is mended."""
        if note is None:
            self.find("checkpoint_missing", f"{name} is not there")
            return None
        try:
            if is_saved:
                return open_checkpoint(tidied(note), [*self._verifiers, *self._former])
            return open_checkpoint(note, self._verifiers)
        except MalformedNote as error:
            self.find("checkpoint_malformed", f"{name}: {error}")
            return None
        except InvalidNote as error:
            self.find("signature_invalid", f"{name}: {error}")
            return None

    def _judge(self) -> None:
        """Read and hash every event, and check the rules of a ledger if the file begins with the first event."""
        rows = self._events()
        if self._file.begin.since == 1:
            is_whole = self._file.seal.head <= self._file.begin.until
            stored = (parsed(*_row(event)) for event in rows)
            for violation in broken(stored, self._file.history, is_whole=is_whole):
                self.find(f"journal_{violation.code}", str(violation))
        else:
            self.find("beginning_absent", f"the file begins at position {self._file.begin.since}")
        for _ in rows:
            pass  # events after one that cannot be understood are still hashed

    def _events(self) -> Iterator[Exported]:
        expected = self._file.begin.since
        ranges = ShownRanges(self._file.seal.shown, expected)
        for place, line in self._file.lines():
            try:
                event, leaf = read_event(line)
            except Malformed as error:
                self.find(
                    "export_malformed", f"the line at byte {place}, after position {expected - 1}: {error}"
                )
                continue
            if leaf != event.sealed:
                self.find("event_altered", f"position {event.position}, {event.stream}, {event.topic}")
            if event.position != expected and self._file.begin.since > 1:
                self.find("journal_position_gap", f"position {event.position} follows {expected - 1}")
            if not self._file.remember(event, place) and event.version == 1:
                self.find("journal_key_reused", f"position {event.position}, {event.stream} begins again")
            if event.position in self._times_of:
                self._times_of[event.position] = content_of(event.state).text("recorded_at")
            expected = event.position + 1
            self._tree.append(leaf)
            self._note_root()
            if words := ranges.contradiction(event):
                self.find("positions_altered", words)
            yield event
        for words in ranges.rest():
            self.find("positions_altered", words)

    def _note_root(self) -> None:
        if self._tree.size in self._roots:
            self._roots[self._tree.size] = self._tree.root

    def _compare_end(self) -> None:
        begin, end = self._file.begin, self._file.end
        if not self._tree.size == begin.until == end.end:
            words = (
                f"the file announces positions {begin.since} to {begin.until}, and ends at {self._tree.size}"
            )
            self.find("export_incomplete", words)
        if self._tree.root.hex() != end.root:
            self.find("root_mismatch", f"the root is {self._tree.root.hex()}, the file says {end.root}")

    def _compare_signed(self, signed: Checkpoint | None) -> None:
        if signed is None:
            return
        size = self._tree.size
        if signed.size <= size:
            if self._is_comparable(signed, "what was signed") and self._roots[signed.size] != signed.root:
                words = f"the first {signed.size} events are not those of what was signed"
                self.find("checkpoint_mismatch", words)
            if signed.size < size and not self._is_being_sealed(signed.size + 1):
                self.find("events_unsealed", f"{size - signed.size} after position {signed.size}")
        elif not self._leads_to(signed):
            words = f"no path leads from the root of {size} events to the signed root of {signed.size} events"
            self.find("checkpoint_mismatch", words)

    def _is_being_sealed(self, position: int) -> bool:
        """Tell whether the event at a position, and so every later one, is too young to be signed."""
        recorded_at, sealing = self._times_of.get(position), self._sealing
        return bool(sealing and recorded_at and sealing.since <= recorded_at <= sealing.until)

    def _leads_to(self, signed: Checkpoint) -> bool:
        try:
            path = hashes(self._file.seal.path)
        except Malformed:
            return False
        return verify_consistency(self._tree.size, signed.size, self._tree.root, signed.root, path)

    def _compare_saved(self, earlier: Sequence[Checkpoint], signed: Checkpoint | None) -> None:
        """Check the events against saved checkpoints, in the order of their sizes.

        The first that the events contradict stands for all larger ones. Together with the one before it, it bounds
        where the histories part.
        """
        within = [saved for saved in earlier if saved.size <= self._tree.size]
        for saved in within:
            if not self._is_comparable(saved, "the saved checkpoint"):
                continue
            if self._roots[saved.size] != saved.root:
                words = f"the first {saved.size} events are not those of the saved checkpoint"
                if self._agreed:
                    first = self._agreed.size + 1
                    words += f": the first that differs is between positions {first} and {saved.size}"
                self._contradict("history_rewritten", saved, words)
                break
            self._agreed = saved
        if self._agreed:
            words = f"nothing up to position {self._agreed.size} was changed since"
            if recorded_at := self._times_of.get(self._agreed.size):
                words += f"; the event there was recorded at {recorded_at}"
            self._show(self._agreed, words)
        if len(earlier) > len(within):
            self._compare_beyond(earlier[-1], signed)

    def _compare_beyond(self, saved: Checkpoint, signed: Checkpoint | None) -> None:
        """Check the events against a saved checkpoint of more events. Only a path in the file can show its history."""
        size = self._tree.size
        if signed is None or signed.size < saved.size:
            covers = f"the saved checkpoint covers {saved.size} events"
            if self._file.seal.head <= size:
                lost = f"{size + 1} to {saved.size}" if saved.size > size + 1 else f"{saved.size}"
                words = f"the journal ends at position {size}, and {covers}: what was at {lost} is missing"
                self._contradict("events_missing", saved, words)
            else:
                self._contradict("history_rewritten", saved, f"{covers}, and the file has only {size}")
        elif signed.size == saved.size and signed.root != saved.root:
            words = f"a different root of {saved.size} events was signed before"
            self._contradict("history_rewritten", saved, words)
        elif signed.size == saved.size:
            if self._leads_to(signed):
                words = f"the events up to position {size} are the first of those that it covers"
                self._show(saved, words)
        else:
            words = f"the file ends at {size}, before the {saved.size} events of the saved checkpoint"
            self.find("checkpoint_incomparable", words)

    def _contradict(self, code: str, saved: Checkpoint, words: str) -> None:
        self.find(code, words)
        if self._contradicted is None:
            self._contradicted = saved

    def _is_comparable(self, checkpoint: Checkpoint, name: str) -> bool:
        """Tell whether the file has the root of a checkpoint's size. Finds `checkpoint_incomparable` if not."""
        if checkpoint.size >= self._file.begin.since - 1:
            return True
        words = f"{name} covers {checkpoint.size} events, and the file begins at {self._file.begin.since}"
        self.find("checkpoint_incomparable", words)
        return False

    def _show(self, saved: Checkpoint, words: str) -> None:
        of = f"the checkpoint of {saved.size} events that {saved.origin} signed"
        self._shown = f"The history goes on from {of}: {words}."


def _row(event: Exported) -> tuple[str, int, str, bytes, int]:
    return event.stream, event.version, event.topic, event.state, event.position
