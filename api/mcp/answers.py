"""What a tool answers: what became of the call in one word and one sentence, and how fresh it is. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from api.client import Done, NoOutcome, NotRecorded, Problem, StillWorking
from api.client.resources import Payout, Transaction


class Became(StrEnum):
    """What became of a call."""

    READ = "read"
    COMPLETED = "completed"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    WOULD_BE_CARRIED_OUT = "would_be_carried_out"
    WOULD_BE_REFUSED = "would_be_refused"
    PROBLEM = "problem"
    UNANSWERED = "unanswered"
    NOT_SENT = "not_sent"
    NOT_RECORDED = "not_recorded"
    UNKNOWN = "unknown"


MEANINGS: Mapping[Became, str] = {
    Became.READ: "The body is what was asked for.",
    Became.COMPLETED: "It was carried out. A payout has ended, and its `state` says whether the money left.",
    Became.ACCEPTED: "It is recorded durably and has not ended yet. It goes on by itself: ask again later.",
    Became.REFUSED: "A rule refused it. If it has an idempotency_key, that is final: another try needs another key.",
    Became.WOULD_BE_CARRIED_OUT: "A dry run: this is what it would do. Nothing was recorded.",
    Became.WOULD_BE_REFUSED: "A dry run: a rule would refuse it. Nothing was recorded.",
    Became.PROBLEM: "The service answered that it cannot be done so. This call recorded nothing.",
    Became.UNANSWERED: "No answer came to a read or a dry run. Calling again is safe.",
    Became.NOT_SENT: "Nothing was sent.",
    Became.NOT_RECORDED: "The service has nothing on record under the key. Calling again with the same key is safe.",
    Became.UNKNOWN: "Nobody knows yet whether it was carried out. Never take it as failed.",
}
"""What each outcome means, for whoever reads answers."""

_ERRORS = (
    Became.REFUSED,
    Became.WOULD_BE_REFUSED,
    Became.PROBLEM,
    Became.UNANSWERED,
    Became.NOT_SENT,
    Became.NOT_RECORDED,
    Became.UNKNOWN,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The answer of a tool.

    `position` is that of the journal which `body` reflects; `head` is the journal's newest. `age_seconds` is the age of
    the oldest event of the ledger that `body` lacks, 0 if it lacks none, None if nobody knows.
    """

    became: Became
    said: str = ""
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    position: int | None = None
    head: int | None = None
    age_seconds: float | None = None
    answered_at: str | None = None
    idempotency_key: str | None = None
    body: Any = None

    @property
    def is_error(self) -> bool:
        """Whether what was asked for was not done."""
        return self.became in _ERRORS

    @property
    def content(self) -> dict[str, Any]:
        """The answer as JSON, without what it does not say."""
        said = {name: getattr(self, name) for name in self.__slots__ if name not in ("became", "said")}
        words = " ".join(filter(None, (self.said, MEANINGS[self.became])))
        known = {name: value for name, value in said.items() if value is not None and value != {}}
        return {"outcome": self.became.value, "said": words, **known}


def not_sent(why: str) -> Told:
    """Return the answer to a call that was refused here."""
    return Told(became=Became.NOT_SENT, said=f"It was not sent: {why}.")


def out_of_reach(where: str, why: str) -> Told:
    """Return the answer to a call for which no connection could be made."""
    return Told(became=Became.NOT_SENT, said=f"The service at {where} cannot be reached ({why}).")


def unanswered(where: str, why: str) -> Told:
    """Return the answer to a read or a dry run that was not answered."""
    return Told(became=Became.UNANSWERED, said=f"The service at {where} did not answer ({why}).")


def change_unanswered(where: str, why: str) -> Told:
    """Return the answer to a change without a key that was sent and not answered."""
    return Told(
        became=Became.UNKNOWN,
        said=f"The service at {where} did not answer ({why}), and it was not sent again. Read what it changes first;"
        " a batch may be sent again as it is, since each of its items has a key.",
    )


def problem_told(problem: Problem, key: str | None = None, *, is_dry_run: bool = False) -> Told:
    """Return the answer for a problem that the client raised."""
    became = became_of(problem.status, is_read=False, is_dry_run=is_dry_run)
    return Told(
        became=became,
        said=words_of(problem.status, problem.body),
        status=problem.status,
        idempotency_key=key,
        body=problem.body,
    )


def became_of(status: int, *, is_read: bool, is_dry_run: bool) -> Became:
    """Return what became of a call that was answered with a status."""
    if status == 409:
        return Became.WOULD_BE_REFUSED if is_dry_run else Became.REFUSED
    if not 200 <= status < 300:
        # A fault may have come after the change was made.
        return Became.UNKNOWN if status >= 500 and not (is_read or is_dry_run) else Became.PROBLEM
    if is_read:
        return Became.READ
    if is_dry_run:
        return Became.WOULD_BE_CARRIED_OUT
    return Became.ACCEPTED if status == 202 else Became.COMPLETED


def words_of(status: int, body: Any) -> str:
    """Return what an answer says of itself if it is a problem, nothing if it is a success."""
    if 200 <= status < 300:
        return ""
    if isinstance(body, dict) and "code" in body:
        return f"{body['code']}: {body.get('detail')} `get_problem` says what to do."
    return f"It was answered with {status}, and not as this service answers."


def sentence_of(outcome: Done[Transaction] | Done[Payout] | StillWorking) -> str:
    """Return what is to be said of a keyed request that was carried out, or is being carried out."""
    if isinstance(outcome, StillWorking):
        return f"Ask `get_operation` for the key {outcome.key} later."
    return "It had been carried out before, and nothing was done twice." if outcome.is_replayed else ""


def no_outcome_told(error: NoOutcome) -> Told:
    """Return the answer for a keyed request that ended without an outcome."""
    return Told(
        became=Became.NOT_RECORDED if isinstance(error, NotRecorded) else Became.UNKNOWN,
        said=f"No outcome is known: {error}. Call it again with the same arguments and the same key, which never does"
        " it twice, or ask `get_operation` for the key.",
        idempotency_key=error.key,
    )


def written(moment: datetime) -> str:
    """Return a moment of UTC as the service writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
