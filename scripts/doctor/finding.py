"""A finding of the doctor, with its remedy filled in."""

from collections.abc import Iterator, Mapping
from string import Formatter
from typing import NamedTuple

from scripts.doctor.catalogue import CATALOGUE
from scripts.doctor.catalogue.kind import Kind


class Finding(NamedTuple):
    """Something found: its code, what was found, some examples, and what it is about (`subjects`).

    The commands of the kind are filled in for each subject. A command with a word that the subject lacks is left out.
    """

    code: str
    found: str
    examples: tuple[str, ...] = ()
    subjects: tuple[Mapping[str, str], ...] = ()

    @property
    def kind(self) -> Kind:
        """The severity, why it matters, and what to do."""
        return CATALOGUE[self.code]

    @property
    def commands(self) -> list[str]:
        """The commands to run, ready to paste, each once."""
        return list(dict.fromkeys(self._filled()))

    @property
    def remedy(self) -> str:
        """What to do, in words, followed by the commands."""
        return " ".join([self.kind.remedy, *(f"`{command}`" for command in self.commands)])

    def _filled(self) -> Iterator[str]:
        for subject in self.subjects or ({},):
            for command in self.kind.commands:
                if words_of(command) <= subject.keys():
                    yield command.format(**subject)


def words_of(command: str) -> set[str]:
    """Return the placeholders in a command."""
    return {word for _, word, _, _ in Formatter().parse(command) if word}
