"""Arrays in PostgreSQL's binary form, encoded in one piece.

psycopg encodes a list element by element in Python. For the rows of a transfer that takes 3.7 µs; this takes 2.3 µs.
"""

import struct
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from itertools import repeat

import psycopg
from msgspec import Struct
from psycopg import postgres
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD = struct.Struct("!5i").pack
_LENGTH = struct.Struct("!i").pack
_BIGINT = struct.Struct("!iq").pack
_BIGINT_BYTES = 8
_TEXT_OID, _BIGINT_OID, _BYTEA_OID = (postgres.types[name].oid for name in ("text", "int8", "bytea"))


class Array(Struct, frozen=True, gc=False):
    """An array as a parameter. The query must name its type, as in `%(streams)b::text[]`."""

    encoded: bytes


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> bytes:
        return obj.encoded


psycopg.adapters.register_dumper(Array, _ArrayDumper)


def text_array(elements: Iterable[str]) -> Array:
    """Return these texts as a `text[]`."""
    encoded = [element.encode() for element in elements]
    return _array(_TEXT_OID, len(encoded), _with_lengths(encoded))


def word_array(words: Collection[str]) -> Array:
    """Return words as a `text[]`. There must be few different ones in all: each is encoded once and kept."""
    return _array(_TEXT_OID, len(words), map(_word, words))


@cache
def _word(word: str) -> bytes:
    return b"".join(_with_lengths([word.encode()]))


def bigint_array(elements: Sequence[int]) -> Array:
    """Return these numbers as a `bigint[]`; raise `ValueError` if one is outside the range of that type."""
    try:
        return _array(_BIGINT_OID, len(elements), map(_BIGINT, repeat(_BIGINT_BYTES), elements))
    except struct.error as error:
        raise ValueError(f"a number is no bigint: {error}") from error


def bytea_array(elements: Sequence[bytes]) -> Array:
    """Return these bytes as a `bytea[]`."""
    return _array(_BYTEA_OID, len(elements), _with_lengths(elements))


def _with_lengths(elements: Sequence[bytes]) -> Iterable[bytes]:
    return [part for element in elements for part in (_LENGTH(len(element)), element)]


def _array(element_oid: int, count: int, elements: Iterable[bytes]) -> Array:
    """Return a one-dimensional array, numbered from 1 and without nulls."""
    head = _HEAD(1, False, element_oid, count, 1)
    return Array(b"".join([head, *elements]))
