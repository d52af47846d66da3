"""Transactions: postings, holds, settlements, voids, reversals and refusals, each under the key of its request.

A transaction's stream begins with the outcome of the request that made it, also if the outcome is a refusal, so that
the same request can be answered again for ever. The stream of a request that is carried out later begins with its
acceptance. Each account of the transaction records the change to it. The transaction's own event comes last, so that
its position covers them all. `postings`, `holds` and `reversals` make the decisions.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, dataclass_transform

from msgspec import Struct

from domain.model.commands import Decision, Read
from domain.model.entries import Entry, PostedEntry, as_asked, debited
from domain.model.errors import IdempotencyKeyReused, LedgerError
from domain.model.events import Context, Envelope, Event, Recorded, State
from domain.model.idempotency import Operation
from domain.model.ids import Id
from domain.model.ledgers import existing_ledger
from domain.model.refusals import transaction_not_found
from domain.model.streams import ledger_of, ledger_stream, name_of, transaction_stream
from domain.model.times import Instant

Kind = Literal["posting", "hold", "settlement", "void", "reversal"]
Status = Literal["posted", "pending", "settled", "voided", "expired", "rejected"]


class Description(NamedTuple):
    """What a request says about the transaction: the caller's reference, description and metadata."""

    reference: str = ""
    description: str = ""
    metadata: dict[str, str] = {}  # noqa: RUF012  nobody changes it


class Described(Event):
    """The caller's reference, description and metadata."""

    reference: str
    description: str
    metadata: dict[str, str]


class Made(Described):
    """The first answer to a keyed request. `fingerprint` identifies the request's content."""

    fingerprint: str
    entries: tuple[Entry, ...]
    effective_at: Instant


class Posted(Made):
    """A transaction moved money."""

    entries: tuple[PostedEntry, ...]


class TransactionPosted(Posted):
    """A transaction was posted."""

    TOPIC: ClassVar[str] = "transaction.posted"
    class_version: ClassVar[int] = 2

    @staticmethod
    def upcast_v1_v2(data: dict[str, Any]) -> None:
        """Version 1 did not store the debits of accounts."""
        for entry in data["entries"]:
            entry["debits_after"] = None


class SettlementPosted(Posted):
    """All or part of a hold was posted, and the rest was released."""

    TOPIC: ClassVar[str] = "transaction.settlement_posted"

    settles: Id


class ReversalPosted(Posted):
    """All or part of a posting or settlement was reversed: its mirror was posted."""

    TOPIC: ClassVar[str] = "transaction.reversal_posted"

    reverses: Id


class TransactionHeld(Made):
    """A hold was made: its entries are pending until it is settled, voided or, at `expires_at`, expires."""

    TOPIC: ClassVar[str] = "transaction.held"

    expires_at: Instant | None


class VoidRecorded(Made):
    """A hold was released on request. The entries are the hold's."""

    TOPIC: ClassVar[str] = "transaction.void_recorded"

    voids: Id


class TransactionRejected(Made):
    """A business rule refused a request for a transaction. `code` and `details` are those of the problem.

    `related_id` is the transaction that was to be settled, voided or reversed. `details` are stored as they were
    answered (domain/model/refusals.py): they are shown again, and no decision depends on them.
    """

    TOPIC: ClassVar[str] = "transaction.rejected"
    class_version: ClassVar[int] = 3

    kind: Kind
    code: str
    detail: str
    expires_at: Instant | None
    related_id: Id | None
    details: dict[str, Any]

    @staticmethod
    def upcast_v1_v2(data: dict[str, Any]) -> None:
        """Version 1 was recorded for postings only."""
        data["expires_at"] = data["related_id"] = None

    @staticmethod
    def upcast_v2_v3(data: dict[str, Any]) -> None:
        """Version 2 did not store the details of a refusal. Its answer had none, and has none when replayed."""
        data["details"] = {}


class TransactionAccepted(Described):
    """A request for a posting or hold was accepted, to be carried out later. The rules are checked then."""

    TOPIC: ClassVar[str] = "transaction.accepted"

    fingerprint: str
    entries: tuple[Entry, ...]
    pending: bool
    expires_at: Instant | None
    effective_at: Instant | None


class Settled(Event):
    """The hold was settled."""

    TOPIC: ClassVar[str] = "transaction.hold_settled"

    settled_by: Id


class Voided(Event):
    """The hold was voided."""

    TOPIC: ClassVar[str] = "transaction.hold_voided"

    voided_by: Id


class Expired(Event):
    """The hold's time was over, and it was released."""

    TOPIC: ClassVar[str] = "transaction.hold_expired"


class Reversed(Event):
    """All or part of the transaction was reversed; `amount` is the sum of the debits that the reversal mirrors."""

    TOPIC: ClassVar[str] = "transaction.reversed"

    reversed_by: Id
    amount: int


EVENTS: tuple[type[Event], ...] = (
    TransactionPosted,
    TransactionHeld,
    SettlementPosted,
    VoidRecorded,
    ReversalPosted,
    TransactionRejected,
    TransactionAccepted,
    Settled,
    Voided,
    Expired,
    Reversed,
)
POSTINGS: tuple[type[Posted], ...] = (TransactionPosted, SettlementPosted, ReversalPosted)
"""The events that move money."""


class Rejection(NamedTuple):
    """Why a transaction was refused: a problem code, the sentence, and the members (domain/model/refusals.py)."""

    code: str
    detail: str
    details: Mapping[str, Any] = {}


class Related(NamedTuple):
    """Ids of the transactions that this one settles, voids or reverses, or that settled, voided or reversed it."""

    settles: str | None = None
    voids: str | None = None
    reverses: str | None = None
    settled_by: str | None = None
    voided_by: str | None = None
    reversed_by: tuple[str, ...] = ()


_UNRELATED = Related()


class Transaction(NamedTuple):
    """A transaction, folded.

    `accepted_at` is when its request was first recorded, `recorded_at` when the request was carried out or refused.
    `made_version` and `made_position` are those of the event that did so; `version` and `position` are those of the
    last event. `reversed_amount` is the sum of the debits that were reversed so far, in minor units.
    """

    ledger: str
    id: str
    kind: Kind
    status: Status
    entries: tuple[Entry, ...]
    reference: str
    description: str
    metadata: Mapping[str, str]
    effective_at: Instant
    recorded_at: Instant
    expires_at: Instant | None
    idempotency_key: str
    fingerprint: str
    correlation_id: str
    actor: str
    related: Related
    rejection: Rejection | None
    accepted_at: Instant
    made_version: int
    made_position: int
    reversed_amount: int
    version: int
    position: int

    @property
    def reversible_amount(self) -> int:
        """The sum of the debits that can still be reversed, in minor units."""
        return debited(self.entries) - self.reversed_amount

    def has_expired(self, now: Instant) -> bool:
        """Tell whether this hold expired before it was settled or voided, whether or not it was released yet."""
        if self.status == "pending":
            return self.expires_at is not None and self.expires_at <= now
        return self.status == "expired"

    def as_first_answered(self) -> "Transaction":
        """Return the transaction as the first answer to its request showed it."""
        if self.version == self.made_version:
            return self
        return self._replace(
            status=_first_status(self.kind, self.rejection),
            related=Related(*self.related[:3]),
            reversed_amount=0,
            version=self.made_version,
            position=self.made_position,
        )


class Acceptance(NamedTuple):
    """A request that was accepted and not carried out yet. There is no transaction yet."""

    ledger: str
    id: str
    request: TransactionAccepted
    envelope: Envelope
    version: int
    position: int

    @property
    def fingerprint(self) -> str:
        """The request's fingerprint."""
        return self.request.fingerprint

    @property
    def idempotency_key(self) -> str:
        """The request's idempotency key."""
        return self.envelope.idempotency_key or ""

    @property
    def correlation_id(self) -> str:
        """The request's correlation id."""
        return self.envelope.correlation_id

    @property
    def accepted_at(self) -> Instant:
        """When the acceptance was recorded."""
        return self.envelope.recorded_at

    def as_first_answered(self) -> "Acceptance":
        """Return the acceptance itself: until the request is carried out, it is the answer."""
        return self


def evolve(state: Transaction | Acceptance | None, recorded: Recorded) -> Transaction | Acceptance:
    """Return the transaction after an event of its stream, or the acceptance that the stream begins with."""
    event = recorded.event
    if isinstance(event, Made):
        assert state is None or isinstance(state, Acceptance)
        return _made(event, recorded, state)
    if isinstance(event, TransactionAccepted):
        assert state is None
        id = name_of(recorded.stream)
        return Acceptance(
            ledger_of(recorded.stream), id, event, recorded.envelope, recorded.version, recorded.position
        )
    assert isinstance(state, Transaction)
    return _changed(state, event)._replace(version=recorded.version, position=recorded.position)


def _made(event: Made, recorded: Recorded, acceptance: Acceptance | None) -> Transaction:
    version, position, envelope = recorded.version, recorded.position, recorded.envelope
    kind: Kind = "posting"
    related = _UNRELATED
    rejection: Rejection | None = None
    expires_at: Instant | None = None
    match event:
        case TransactionPosted():
            pass
        case TransactionHeld():
            kind, expires_at = "hold", event.expires_at
        case SettlementPosted():
            kind, related = "settlement", Related(settles=event.settles)
        case VoidRecorded():
            kind, related = "void", Related(voids=event.voids)
        case ReversalPosted():
            kind, related = "reversal", Related(reverses=event.reverses)
        case TransactionRejected():
            kind, expires_at = event.kind, event.expires_at
            rejection = Rejection(event.code, event.detail, event.details)
            related = _relation(kind, event.related_id)
    ledger, _, id = recorded.stream.split("/", 2)
    # Positional arguments take half the time, and every command makes one.
    return Transaction(
        ledger,
        id,
        kind,
        _first_status(kind, rejection),
        event.entries,
        event.reference,
        event.description,
        event.metadata,
        event.effective_at,
        envelope.recorded_at,
        expires_at,
        envelope.idempotency_key or "",
        event.fingerprint,
        envelope.correlation_id,
        envelope.actor,
        related,
        rejection,
        acceptance.envelope.recorded_at if acceptance else envelope.recorded_at,
        version,
        position,
        0,
        version,
        position,
    )


def _relation(kind: Kind, related_id: str | None) -> Related:
    """Return the relation between a transaction of this kind and the transaction that it names."""
    return Related(
        settles=related_id if kind == "settlement" else None,
        voids=related_id if kind == "void" else None,
        reverses=related_id if kind == "reversal" else None,
    )


def _first_status(kind: Kind, rejection: Rejection | None) -> Status:
    if rejection is not None:
        return "rejected"
    return "pending" if kind == "hold" else "posted"


def _changed(transaction: Transaction, event: Event) -> Transaction:
    related = transaction.related
    match event:
        case Settled():
            related = related._replace(settled_by=event.settled_by)
            return transaction._replace(status="settled", related=related)
        case Voided():
            related = related._replace(voided_by=event.voided_by)
            return transaction._replace(status="voided", related=related)
        case Expired():
            return transaction._replace(status="expired")
        case Reversed():
            related = related._replace(reversed_by=(*related.reversed_by, event.reversed_by))
            amount = transaction.reversed_amount + event.amount
            return transaction._replace(related=related, reversed_amount=amount)
    raise AssertionError(f"{type(event).__name__} does not change a transaction")


def existing_transaction(state: State, id: str) -> Transaction:
    """Return the transaction of a folded stream; raise `TransactionNotFound` if nothing has made it yet."""
    if not isinstance(state, Transaction):
        raise transaction_not_found(id)
    return state


# A struct, because every transfer makes one: a frozen dataclass takes ten times as long.
@dataclass_transform(frozen_default=True)
class Keyed(Struct, frozen=True, gc=False):
    """A keyed request for a transaction. Its outcome begins the transaction's stream."""

    context: Context
    ledger: str
    operation: Operation
    description: Description

    @property
    def own_stream(self) -> str:
        """The stream of the transaction that the request makes."""
        return transaction_stream(self.ledger, self.operation.id)

    def decide(self, read: Read, now: Instant) -> Decision:
        """Return the first answer again if the key was used before, else decide the request.

        Raises, in this order, `LedgerNotFound`, `IdempotencyKeyReused` and what `decide_new` raises. A refusal by a
        rule is recorded instead of raised.
        """
        existing_ledger(read(ledger_stream(self.ledger)), self.ledger)
        stream = self.own_stream
        existing = read(stream)
        if existing is None:
            return self.decide_new(read, now)
        if existing.fingerprint != self.operation.fingerprint:
            raise IdempotencyKeyReused
        return Decision((), stream, first_answer=self.first_answer(existing, read))

    def first_answer(self, existing: "Transaction | Acceptance", read: Read) -> State:
        """Return the state that the first answer showed, given the state of the transaction's stream."""
        return existing.as_first_answered()

    def decide_new(self, read: Read, now: Instant) -> Decision:
        """Decide a request whose key is free."""
        raise NotImplementedError

    def described(self) -> dict[str, Any]:
        """Return the members that the event of the outcome copies from the request."""
        return {
            "fingerprint": self.operation.fingerprint,
            "reference": self.description.reference,
            "description": self.description.description,
            "metadata": self.description.metadata,
        }

    def rejected(
        self,
        kind: Kind,
        refusal: LedgerError,
        entries: tuple[Entry, ...],
        effective_at: Instant,
        *,
        expires_at: Instant | None = None,
        related_id: str | None = None,
    ) -> Decision:
        """Record a refusal, usually by a rule.

        It shows the entries as requested, since none of them was posted or released.
        """
        event = TransactionRejected(
            kind=kind,
            entries=as_asked(entries),
            effective_at=effective_at,
            code=refusal.code,
            detail=refusal.detail,
            details=refusal.details,
            expires_at=expires_at,
            related_id=related_id,
            **self.described(),
        )
        return Decision([(self.own_stream, event)], self.own_stream)
