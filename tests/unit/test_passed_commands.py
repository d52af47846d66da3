"""What API processes say to each other arrives as it was said: every command, every outcome, every refusal."""

import dataclasses
import inspect
import pickle
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

import api.app  # noqa: F401  with it come all modules that define refusals and commands
from api.service.committing.messages import (
    BEAT,
    Answered,
    Asked,
    CommandFailed,
    Incoming,
    encode,
    tellable,
)
from domain.model.accounts import ChangeAccount
from domain.model.commands import Outcome, Repeatable
from domain.model.errors import BatchRejected, InsufficientFunds, LedgerError, UnbalancedTransaction
from domain.model.events import Envelope, Event, Recorded
from domain.model.holds import ExpireHold
from domain.model.payouts.bookings import OnPayout
from domain.model.postings import CompleteTransaction
from domain.model.registry import evolve
from domain.model.transactions import Acceptance, Keyed, Transaction
from tests.ledgers import CONTEXT, transfer
from tests.unit.generated_events import ENVELOPES, EVENTS


def family(parent: type[Any]) -> list[type[Any]]:
    """A class and all that inherit from it."""
    return [parent, *(one for child in parent.__subclasses__() for one in family(child))]


REFUSALS = family(LedgerError)
COMMANDS = [
    command
    for parent in (Keyed, Repeatable, OnPayout, CompleteTransaction, ExpireHold)
    for command in family(parent)
    # A dataclass with slots is made anew, and the first of the two is nowhere.
    if getattr(sys.modules[command.__module__], command.__name__, None) is command
    and not inspect.isabstract(command)
]


def told(message: Any) -> Any:
    """A message as it arrives."""
    (arrived,) = Incoming().messages(encode(message))
    return arrived


def answered(*results: Any) -> list[Any]:
    """Results as they arrive."""
    (arrived,) = told([Answered(1, tellable(results), 7)])
    assert (arrived.number, arrived.position) == (1, 7)
    return list(arrived.results)


def a_refusal(refusal: type[LedgerError]) -> LedgerError:
    wanted = list(inspect.signature(refusal.__init__).parameters.values())[1:]
    demanded = [of.name for of in wanted if of.kind is of.POSITIONAL_OR_KEYWORD and of.default is of.empty]
    given: dict[str, Any] = {name: [("/amount", "words")] if name == "errors" else name for name in demanded}
    made = refusal(**given)
    made.position = 41
    made.details.update(account="users:1", shortfall=5, differs=["asset"])
    return made


@pytest.mark.parametrize("refusal", REFUSALS)
def test_every_refusal_arrives_with_all_that_it_says(refusal: type[LedgerError]) -> None:
    said = a_refusal(refusal)
    (arrived,) = answered(said)
    assert type(arrived) is refusal
    assert vars(arrived) == vars(said)
    assert (arrived.args, str(arrived)) == (said.args, str(said))


@pytest.mark.parametrize(
    "cause", [InsufficientFunds("words", account="a", shortfall=1), Outcome(None, False, False, 3)]
)
def test_the_refusal_of_a_batch_arrives_with_its_cause(cause: Any) -> None:
    rejected = BatchRejected(2, cause)
    rejected.position = 9
    first, second = answered(rejected, rejected)
    assert first is second and (first.index, first.position, first.code) == (2, 9, "batch_rejected")
    if isinstance(cause, LedgerError):
        assert type(first.cause) is InsufficientFunds and vars(first.cause) == vars(cause)
    else:
        assert first.cause == cause


def a_command(command: type[Any]) -> Any:
    """A command whose every member has a value of its own. Its members are checked where it is made, not here."""
    if issubclass(command, Struct):
        return command(*command.__struct_fields__)
    made: Any = object.__new__(command)
    for field in dataclasses.fields(command) if dataclasses.is_dataclass(command) else ():
        object.__setattr__(made, field.name, field.name)
    return made


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_arrives_as_it_was_asked(command: type[Any]) -> None:
    said = a_command(command)
    (asked,) = told([Asked(5, "east", [said], True, False, 12.5)])
    assert asked[:2] == (5, "east") and asked[3:] == (True, False, 12.5)
    (arrived,) = asked.commands
    assert type(arrived) is command
    if dataclasses.is_dataclass(command) or issubclass(command, Struct):
        assert arrived == said


def test_what_a_request_leaves_as_it_is_arrives_so() -> None:
    (asked,) = told(
        [Asked(1, "", [ChangeAccount(CONTEXT, "main", "a", min_balance=None)], False, False, 0.0)]
    )
    (command,) = asked.commands
    assert command.metadata is ... and command.max_balance is ... and command.min_balance is None


def test_a_transfer_arrives_as_it_was_asked() -> None:
    command = transfer("a", "b", 5)
    (asked,) = told([Asked(1, "", [command], False, False, 0.0)])
    assert asked.commands == [command]


@given(event=EVENTS, envelope=ENVELOPES)
def test_every_state_that_begins_with_an_event_arrives_as_it_was(event: Event, envelope: Envelope) -> None:
    try:
        state = evolve(None, Recorded("main/transactions/id", 1, 8, envelope, event))
    except (AssertionError, AttributeError, TypeError, ValueError):
        return  # no stream begins with it
    outcome = Outcome(state, True, False, 8)
    (arrived,) = answered(outcome)
    assert arrived == outcome and type(arrived.state) is type(state)
    if isinstance(state, Transaction | Acceptance):
        assert arrived.is_refused == outcome.is_refused


def test_a_fault_of_a_command_arrives_in_words() -> None:
    class Unpicklable(Exception):
        pass

    with pytest.raises((pickle.PicklingError, AttributeError)):
        encode([Answered(1, [Unpicklable()], 1)])
    fault, refusal = answered(Unpicklable("broken"), UnbalancedTransaction())
    assert type(fault) is CommandFailed and "broken" in str(fault)
    assert type(refusal) is UnbalancedTransaction


@given(sizes=st.lists(st.integers(0, 300), max_size=8), cuts=st.lists(st.integers(1, 50), max_size=200))
def test_messages_arrive_however_their_bytes_are_cut(sizes: list[int], cuts: list[int]) -> None:
    said = [[Answered(number, None, size)] * size for number, size in enumerate(sizes)]
    sent = b"".join(map(encode, said)) + BEAT
    incoming, arrived = Incoming(), []
    for cut in cuts:
        piece, sent = sent[:cut], sent[cut:]
        arrived += incoming.messages(piece)
    arrived += incoming.messages(sent)
    assert arrived == [*said, ()]
