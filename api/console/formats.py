"""How figures and times are written for people: money with its asset's scale, times as age, never a float.

The functions are filters of the templates.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from markupsafe import Markup

from domain.model.times import Instant, moment

MINUS = "\u2212"
NARROW_SPACE = "\u202f"
"""Groups thousands, and stands between a figure and its unit: it does not break a line (SI brochure §5.4.4)."""

_ID = re.compile(r"([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_UNITS = (("day", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def scale_of(asset: str) -> int:
    """Return the number of decimals of an asset such as `USD/2`."""
    return int(asset.partition("/")[2] or 0)


def code_of(asset: str) -> str:
    """Return the code of an asset such as `USD/2`."""
    return asset.partition("/")[0]


def figure(amount: int | str, asset: str) -> str:
    """Return minor units of an asset as a decimal figure: `1234567` of `USD/2` is `12 345.67`."""
    scale = scale_of(asset)
    digits = str(amount).lstrip("-").rjust(scale + 1, "0")
    whole, fraction = (digits[:-scale], digits[-scale:]) if scale else (digits, "")
    sign = MINUS if str(amount).startswith("-") and int(amount) else ""
    return f"{sign}{grouped(whole)}{'.' if fraction else ''}{fraction}"


def money(amount: int | str | None, asset: str | None) -> Markup:
    """Return minor units as a figure with the asset's code, and the exact minor units on hover; a dash for None.

    If the asset is not known, the minor units themselves are shown.
    """
    if amount is None:
        return Markup("–")
    if asset is None:
        return Markup('<data class="money" value="{0}">{1}{2}minor units</data>').format(
            amount, grouped(amount), NARROW_SPACE
        )
    return Markup('<data class="money" value="{0}" title="{0} minor units of {1}">{2}{3}{4}</data>').format(
        amount, asset, figure(amount, asset), NARROW_SPACE, code_of(asset)
    )


def grouped(number: int | str) -> str:
    """Return a whole number with its thousands grouped."""
    text = str(number)
    sign, digits = (MINUS, text[1:]) if text.startswith("-") else ("", text)
    return sign + f"{int(digits):,}".replace(",", NARROW_SPACE) if digits.isdecimal() else text


def position(number: int | None) -> Markup:
    """Return a position of the journal, a dash for None."""
    if number is None:
        return Markup("–")
    return Markup('<data class="position" value="{}">{}</data>').format(number, grouped(number))


def duration(seconds: float) -> str:
    """Return a span of time in its two largest units: `2 min 5 s`. Below a second it is in milliseconds."""
    if seconds < 1:
        return f"{round(max(seconds, 0) * 1000)}{NARROW_SPACE}ms"
    rest = int(seconds)
    parts: list[str] = []
    for name, size in _UNITS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(
                f"{count}{NARROW_SPACE}{name}{'s' if name == 'day' and count != 1 else ''}" if count else ""
            )
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part)


def age(time: Instant | None, now: datetime | None = None) -> Markup:
    """Return how long ago a time was, or how long it is until then, with the exact time on hover; a dash for None."""
    if not time:
        return Markup("–")
    seconds = ((now or datetime.now(UTC)) - moment(time)).total_seconds()
    words = f"in {duration(-seconds)}" if seconds < -1 else f"{duration(max(seconds, 0))} ago"
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(time, words)


def clock(time: Instant | None) -> Markup:
    """Return a time as date and clock in UTC, to the second, with the exact time on hover; a dash for None."""
    if not time:
        return Markup("–")
    return Markup('<time datetime="{0}" title="{0}">{1} {2}</time>').format(time, time[:10], time[11:19])


def clock_of_day(time: Instant) -> str:
    """Return the hour and minute of a time in UTC, as it is said: `12:04`."""
    return time[11:16]


def link(resource: str) -> str:
    """Return the page of a thing, from its path in the API: `/console` in place of `/v1`."""
    return "/console" + quote(resource.removeprefix("/v1"), safe="/:@!$&'()*+,;=~?")


def with_query(path: str, query: Mapping[str, Any]) -> str:
    """Return an address with parameters. Those that are None or empty are left out."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def words_of(code: str) -> str:
    """Return a code as words: `in_doubt` is `in doubt`."""
    return code.replace("_", " ")


def code(text: str | None) -> Markup:
    """Return an id, address or code, set apart from prose; a dash if there is none."""
    return Markup("<code>{}</code>").format(text) if text else Markup("–")


def marked(text: str) -> Markup:
    """Return words in which commands stand between backticks, with the commands set apart as code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in enumerate(parts)
    )


def request_page(key: str, ledger: str) -> str:
    """Return the page of the request with an idempotency key. A key may contain what a path gives a meaning."""
    return f"/console/ledgers/{quote(ledger)}/operations/{quote(key, safe=':@')}"


def shortened(name: str) -> str:
    """Return a name, such as a stream's, with each id in it cut to its beginning, and no longer than a column."""
    name = _ID.sub(r"\1…", name)
    return name if len(name) <= 40 else f"{name[:22]}…{name[-17:]}"


def offset(seconds: float) -> str:
    """Return how long after a beginning something was: `+1.24 s` where hundredths tell, else as a span of time."""
    if 1 <= seconds < 60:
        return f"+{seconds:.2f}{NARROW_SPACE}s"
    return f"+{duration(seconds)}"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, as a sentence begins: `Two things`, `1 234 things`."""
    words = _NUMBERS[number] if number < len(_NUMBERS) else grouped(number)
    return f"{words} {one if number == 1 else many or one + 's'}"


_NUMBERS = (
    "No",
    "One",
    "Two",
    "Three",
    "Four",
    "Five",
    "Six",
    "Seven",
    "Eight",
    "Nine",
    "Ten",
    "Eleven",
    "Twelve",
)


FILTERS = {
    "age": age,
    "clock": clock,
    "clock_of_day": clock_of_day,
    "code": code,
    "code_of": code_of,
    "duration": duration,
    "figure": figure,
    "grouped": grouped,
    "link": link,
    "marked": marked,
    "money": money,
    "offset": offset,
    "position": position,
    "request_page": request_page,
    "shortened": shortened,
    "words": words_of,
}
"""The filters, by the names that templates use."""
