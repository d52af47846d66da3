"""The audit trail of API keys in the journal: who made, rotated and revoked which key.

Authentication looks keys up in their own table (api/security/keys.py). The trail is recorded in the same transaction
that changes the key, so there is no key without its record, and no record of a change that did not happen. Neither a
key nor its digest is ever recorded.
"""

import re
import unicodedata
from typing import ClassVar, NamedTuple

from domain.model.events import Event, Recorded
from domain.model.ids import Id
from domain.model.streams import name_of
from domain.model.times import Instant

BOOTSTRAP = "bootstrap"
RESERVED_NAMES = frozenset({"tallystick", BOOTSTRAP, "service", "provider", "bridge", "terminal", "nobody"})
"""Names under which the service itself acts, and prefixes before a colon in the names of actors that are no keys."""

AT_A_TERMINAL = " at a terminal"
"""The suffix of the names of actors who work directly on the database, without a key."""

MAX_NAME_LENGTH = 255

_WORD = re.compile(r"\w+")
_ALIKE_ALPHABETS = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE")
# These characters are invisible, though Unicode counts them among letters and marks.
_INVISIBLE = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0x180B, 0x1810)))
) | frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))


class _OfKey(Event):
    """The description of a key in its events: its name, its roles, its ledgers. The name is the actor of its requests.

    `valid_until` is null for a key that never expires.
    """

    name: str
    roles: tuple[str, ...]
    ledgers: tuple[str, ...]
    valid_until: Instant | None


class KeyMade(_OfKey):
    """A key was made. `replaces` is the id of the key that it replaces: its own id if the bootstrap key changed."""

    TOPIC: ClassVar[str] = "key.made"

    replaces: Id | None


class KeyRotated(_OfKey):
    """A key was rotated: it ends, and another key replaces it."""

    TOPIC: ClassVar[str] = "key.rotated"

    replaced_by: Id


class KeyRevoked(_OfKey):
    """A key was revoked: it is no longer valid."""

    TOPIC: ClassVar[str] = "key.revoked"


EVENTS: tuple[type[Event], ...] = (KeyMade, KeyRotated, KeyRevoked)


class ApiKey(NamedTuple):
    """A key, folded."""

    id: str
    name: str
    roles: tuple[str, ...]
    ledgers: tuple[str, ...]
    valid_until: Instant | None
    is_revoked: bool
    version: int
    position: int


def evolve(key: ApiKey | None, recorded: Recorded) -> ApiKey:
    """Return the key after an event of its stream."""
    event = recorded.event
    assert isinstance(event, _OfKey)
    return ApiKey(
        name_of(recorded.stream),
        event.name,
        event.roles,
        event.ledgers,
        event.valid_until,
        isinstance(event, KeyRevoked),
        recorded.version,
        recorded.position,
    )


def likeness(name: str) -> str:
    """Return a form that is equal for names that look alike: it ignores case, width, accents and extra blanks."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    return " ".join("".join(character for character in plain if not unicodedata.combining(character)).split())


def flaw_of_name(name: str) -> str | None:
    """Return in words why a new key cannot have this name, or None if it can."""
    if not 1 <= len(name) <= MAX_NAME_LENGTH:
        return f"must have 1 to {MAX_NAME_LENGTH} characters"
    if not name.isprintable() or not _INVISIBLE.isdisjoint(name):
        return "must consist of characters that can be printed and seen"
    if name != name.strip():
        return "must not begin or end with a blank"
    if unicodedata.combining(name[0]):
        return "must not begin with a mark that belongs on a letter"
    if any(len(_alphabets(word)) > 1 for word in _WORD.findall(name)):
        return "must not mix alphabets within a word: a letter of one can look like a letter of another"
    alike = likeness(name)
    if alike.partition(":")[0].strip() in RESERVED_NAMES or alike.endswith(AT_A_TERMINAL):
        return "is reserved for the service itself, or looks like a reserved name"
    return None


def _alphabets(word: str) -> set[str]:
    names = (unicodedata.name(letter, "").removeprefix("FULLWIDTH ") for letter in word)
    return {name.partition(" ")[0] for name in names}.intersection(_ALIKE_ALPHABETS)
