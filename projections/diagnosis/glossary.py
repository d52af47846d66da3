"""The glossary: how each state is called in front of people, and what it means. The API's documents, the commands and
the console take their words from here.

A word never says more than is known. A time-out is "in doubt", never "failed": nobody knows yet whether the money left.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Thing = Literal[
    "operation",
    "transaction",
    "payout",
    "projection",
    "rebuild",
    "dead_letter",
    "delivery",
    "webhook",
    "key",
    "account",
]
Tone = Literal["good", "wait", "doubt", "bad", "calm"]
"""How a state is to be taken: it ended well; it goes on by itself; nobody knows yet; somebody must act; it is over."""


class Term(NamedTuple):
    """A state in words, how it is to be taken, and what it means."""

    words: str
    tone: Tone
    meaning: str


GLOSSARY: Mapping[tuple[Thing, str], Term] = {
    ("operation", "accepted"): Term("accepted", "wait", "Recorded durably, and not carried out yet."),
    ("operation", "in_progress"): Term("waiting", "wait", "Carried out in part. It goes on by itself."),
    ("operation", "reconciling"): Term(
        "reconciling", "doubt", "Nobody knows yet how it ended. The provider is asked."
    ),
    ("operation", "completed"): Term("completed", "good", "It has ended. Its answer never changes."),
    ("operation", "rejected"): Term(
        "refused (final)", "bad", "A rule refused it. Under this key that is final."
    ),
    ("transaction", "posted"): Term("posted", "good", "The amounts moved."),
    ("transaction", "pending"): Term("pending", "wait", "The amounts are held. They have not moved."),
    ("transaction", "lapsed"): Term("lapsed", "wait", "The hold is past its end, and about to be released."),
    ("transaction", "settled"): Term("settled", "good", "The hold was posted, whole or in part."),
    ("transaction", "voided"): Term("voided", "calm", "The hold was released. Nothing moved."),
    ("transaction", "expired"): Term(
        "expired", "calm", "The hold ended by itself, and was released. Nothing moved."
    ),
    ("transaction", "rejected"): Term("refused (final)", "bad", "A rule refused it. Nothing moved."),
    ("payout", "accepted"): Term(
        "accepted", "wait", "The amount is held. The provider has not been called yet."
    ),
    ("payout", "submitted"): Term(
        "submitted", "wait", "The provider was called, and has not said how it ended."
    ),
    ("payout", "in_doubt"): Term(
        "in doubt", "doubt", "Nobody knows yet whether the money left. The provider is asked."
    ),
    ("payout", "stuck"): Term("stuck", "bad", "The provider contradicts the record. A person must find out."),
    ("payout", "completed"): Term("completed", "good", "The money left, and the hold is settled."),
    ("payout", "failed"): Term("not paid", "calm", "The provider said so. The amount is released."),
    ("payout", "rejected"): Term("refused (final)", "bad", "A rule of the ledger refused it. Nothing moved."),
    ("projection", "running"): Term("running", "good", "It shows each event soon after it was recorded."),
    ("projection", "behind"): Term("catching up", "wait", "It shows an earlier position, and moves on."),
    ("projection", "paused"): Term("paused", "wait", "An operator paused it. Its answers get older."),
    ("projection", "halted"): Term(
        "halted", "bad", "It met an event that it cannot pass. It waits for an operator."
    ),
    ("projection", "rebuilding"): Term("rebuilding", "wait", "It is being filled, and cannot be read yet."),
    ("projection", "retired"): Term(
        "retired", "calm", "It was replaced by another version, and is not advanced."
    ),
    ("rebuild", "requested"): Term("requested", "wait", "It begins as soon as a rebuilder is free."),
    ("rebuild", "filling"): Term("filling", "wait", "Events are projected into the new version."),
    ("rebuild", "comparing"): Term("comparing", "wait", "The new version is compared with the live one."),
    ("rebuild", "paused"): Term("paused", "wait", "An operator paused it. Nothing is lost."),
    ("rebuild", "differing"): Term(
        "differing", "bad", "The new version is not equal to the live one. Decide which."
    ),
    ("rebuild", "failed"): Term(
        "halted", "bad", "It met something that it cannot pass. The live version goes on."
    ),
    ("rebuild", "switched"): Term("switched", "good", "The new version is live."),
    ("rebuild", "cancelled"): Term("cancelled", "calm", "An operator gave it up. The live version goes on."),
    ("dead_letter", "open"): Term(
        "open", "bad", "The event was set aside. What follows in its stream is held behind it."
    ),
    ("dead_letter", "resolved"): Term("resolved", "good", "It was applied after all."),
    ("dead_letter", "discarded"): Term("discarded", "calm", "An operator gave it up, with a reason."),
    ("dead_letter", "superseded"): Term("superseded", "calm", "Its version of the projection was replaced."),
    ("delivery", "pending"): Term("waiting", "wait", "It is sent when its turn comes."),
    ("delivery", "sent"): Term("sent", "wait", "It was sent, and the receiver has not acknowledged it."),
    ("delivery", "acknowledged"): Term("acknowledged", "good", "The receiver has it."),
    ("delivery", "failed"): Term(
        "given up", "bad", "All attempts failed. Later deliveries of its key are held behind it."
    ),
    ("delivery", "suppressed"): Term("suppressed", "calm", "It is not sent. Its last attempt says why."),
    ("webhook", "enabled"): Term("enabled", "good", "Its events are sent."),
    ("webhook", "disabled"): Term("disabled", "bad", "Nothing is sent. Its events wait."),
    ("key", "active"): Term("valid", "good", "It may be used."),
    ("key", "expired"): Term("expired", "calm", "Its time is over."),
    ("key", "revoked"): Term("revoked", "calm", "It was taken back."),
    ("account", "open"): Term("open", "good", "It takes postings."),
    ("account", "frozen"): Term("frozen", "wait", "It refuses everything except voids and expiries."),
    ("account", "closed"): Term("closed", "calm", "It is empty, and never opened again."),
}
"""The states of each kind of thing, by the codes that the API gives them."""


DERIVED = frozenset({("transaction", "lapsed"), ("projection", "behind")})
"""Entries that no member of an answer states. They follow from a time or from positions."""


def term(thing: Thing, state: str) -> Term:
    """Return the words for a state. A state without an entry is called by its code."""
    return GLOSSARY.get((thing, state)) or Term(state.replace("_", " "), "calm", "")


def meanings(thing: Thing) -> str:
    """Return what each state of a kind of thing means, as the API's document says it beside the member."""
    return " ".join(
        f"`{state}`: {of.meaning}"
        for (kind, state), of in GLOSSARY.items()
        if kind == thing and (kind, state) not in DERIVED
    )
