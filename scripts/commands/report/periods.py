"""Periods as people name them: by days or by instants, always in UTC.

All reports share one rule. `--from` is included. A day given as `--to` is included: the period ends when that day ends.
An instant given as `--to` is excluded, as in the API.
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, NamedTuple

import typer

from domain.model.times import Instant, instant

From = Annotated[
    str | None,
    typer.Option(
        "--from", help="The first day, such as 2026-11-01, or instant; included. Days are UTC [all]"
    ),
]
To = Annotated[
    str | None,
    typer.Option("--to", help="The last day, included; or the instant it ends at, excluded [all]"),
]

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ].*")
_TOO_FINE = re.compile(r"\.\d{6}\d*[1-9]")


class Period(NamedTuple):
    """A period from `since`, included, to `until`, excluded, and its description. None means unlimited."""

    since: Instant | None
    until: Instant | None
    words: str


class _Bound(NamedTuple):
    """One end of a period as given. `next_day` is the start of the day after a named day."""

    at: Instant
    words: str
    is_day: bool
    next_day: Instant | None


def period(since: str | None, until: str | None) -> Period:
    """Return the period that `--from` and `--to` name. Raises `typer.BadParameter` if they name none."""
    first, last = _bound(since, "--from"), _bound(until, "--to")
    begins = first and first.at
    ends = (last.next_day if last.is_day else last.at) if last else None
    # A named day ends when the next begins, so a --to of the day before --from ends exactly at --from.
    if begins and ends and (ends < begins or (ends == begins and until and _DAY.fullmatch(until))):
        raise typer.BadParameter("is before --from", param_hint="--to")
    return Period(begins, ends, _words(first, last))


def _words(first: _Bound | None, last: _Bound | None) -> str:
    if first is None and last is None:
        return "from the beginning to the end"
    if first and last and first.is_day and last.is_day:
        return f"from {first.words} to {last.words}, both included (UTC)"
    begins = f"from {first.words}, included," if first else "from the beginning"
    ends = "to the end" if last is None else f"to {last.words}, {'' if last.is_day else 'not '}included"
    return f"{begins} {ends} (UTC)"


def _bound(text: str | None, option: str) -> _Bound | None:
    """Return the end of a period that a text names. Without an offset, times are UTC."""
    if text is None:
        return None
    try:
        if _DAY.fullmatch(text):
            return _day(date.fromisoformat(text), text)
        if not _TIME.fullmatch(text) or _TOO_FINE.search(text):
            raise ValueError
        moment = datetime.fromisoformat(text.upper())
        at = instant(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        words = "is neither a day nor a time to the microsecond, such as 2026-11-23 or 2026-11-23T12:00:00Z"
        raise typer.BadParameter(words, param_hint=option) from None
    return _Bound(at, at, False, None)


def _day(day: date, text: str) -> _Bound:
    # After the last possible day comes none, and nothing can be dated after it.
    next_day = None if day == date.max else f"{day + timedelta(days=1)}T00:00:00.000000Z"
    return _Bound(f"{day}T00:00:00.000000Z", text, True, next_day)
