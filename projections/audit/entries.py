"""The rows that `entries` and `turnovers` must hold: every posted entry, and the sums of entries over spans of time."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter

from projections.audit.stored import DISCARDED, POSTED, Journal, Row, Stored

_KINDS = dict(zip(POSTED, ("posting", "settlement", "reversal"), strict=True))
_END_OF_TIME = "10000-01-01T00:00:00.000000Z"
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_MIDNIGHT = datetime(1, 1, 1, tzinfo=UTC)


def entries(journal: Journal) -> Iterator[Row]:
    """Return the rows of entries by position and number, with the columns of the query `entries`."""
    sampled = None if journal.sample is None else journal.sample.accounts
    for event in _posted(journal):
        ledger, data = event.ledger, event.data
        recorded_at = datetime.fromisoformat(event.envelope["recorded_at"])
        effective_at = datetime.fromisoformat(data["effective_at"])
        for number, entry in enumerate(data["entries"], start=1):
            if sampled is not None and f"{ledger}/accounts/{entry['account']}" not in sampled:
                continue
            amount = entry["amount"]
            yield (
                event.position,
                number,
                ledger,
                entry["account"],
                recorded_at,
                event.name,
                _KINDS[event.topic],
                entry["asset"],
                entry["direction"],
                amount if entry["direction"] == entry["normal_side"] else -amount,
                entry["balance_after"],
                entry.get("debits_after"),  # version 1 of postings did not have it
                effective_at,
                data["reference"],
            )


def turnovers(journal: Journal) -> Iterator[Row]:
    """Return the rows of turnovers by their key. For a sample: those of its accounts, and none of whole ledgers.

    The sums are kept in memory: as many as the table has rows.
    """
    sums: defaultdict[Row, list[int]] = defaultdict(lambda: [0, 0])
    sampled = None if journal.sample is None else journal.sample.accounts
    for event in _posted(journal):
        for clock, time in _clocks(event):
            ledger, spans = event.ledger, _spans(time)
            for entry in event.data["entries"]:
                account, asset, is_credit = entry["account"], entry["asset"], entry["direction"] == "credit"
                if sampled is None:
                    for span, until in spans:
                        sums[ledger, "", clock, span, until, asset][is_credit] += entry["amount"]
                if clock != "both" and (sampled is None or f"{ledger}/accounts/{account}" in sampled):
                    sums[ledger, account, clock, "day", spans[-1][1], asset][is_credit] += entry["amount"]
    return ((*key, *sums[key]) for key in sorted(sums))


def _posted(journal: Journal) -> Iterator[Stored]:
    """Return the events that posted, in the order of positions. For a sample: those that posted to its accounts."""
    if journal.sample is None:
        return (event for event in journal.of_topics(*POSTED) if event.topic != DISCARDED)
    transactions = {
        f"{event.ledger}/transactions/{event.data['transaction_id']}"
        for _, events in journal._replace(without=(), discarded=()).accounts()
        for event in events
        if event.topic in ("account.entries_posted", "account.entries_settled")
    }
    events = [event for event in journal.of_streams(transactions) if event.topic in POSTED]
    return iter(sorted(events, key=attrgetter("position")))


def _clocks(event: Stored) -> list[tuple[str, str]]:
    recorded_at, effective_at = event.envelope["recorded_at"], event.data["effective_at"]
    if recorded_at == effective_at:
        return [("both", recorded_at)]
    return [("recorded", recorded_at), ("effective", effective_at)]


@lru_cache(1024)
def _spans(time: str) -> list[tuple[str, str]]:
    """Return the spans that a time falls into, each by its end. The day comes last.

    A span excludes its beginning and includes its end. A span that ends together with a longer one is not kept.
    """
    moment = datetime.fromisoformat(time)
    minute, hour, day = (_end(moment, span) for span in (_MINUTE, _HOUR, _DAY))
    spans = [("day", day)]
    if hour != day:
        spans.insert(0, ("hour", hour))
    if minute != hour:
        spans.insert(0, ("minute", minute))
    return spans


def _end(moment: datetime, span: timedelta) -> str:
    """Return the first end of a span that is not before a moment."""
    try:
        end = moment + (_MIDNIGHT - moment) % span
    except OverflowError:
        return _END_OF_TIME
    return f"{end.isoformat(timespec='microseconds')[:26]}Z"
