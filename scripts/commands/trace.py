"""`tallystick trace`: tells what happened to a request and what is safe to do, directly on the database."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple

import typer
from psycopg import Connection
from rich.console import Console
from rich.table import Table
from rich.text import Text

from api.resources.operations.answers import conversation_body, trace_body
from domain.application import system_clock
from domain.journal.shown_positions import read_present_positions
from domain.model.errors import LedgerError, LedgerMoved, OperationUnknown
from domain.model.idempotency import is_key, operation_id
from domain.model.ids import canonical_id, is_id
from domain.model.payouts.payout import Payout
from domain.model.refusals import ledger_not_found
from domain.model.times import Instant
from domain.placement.ledger_map import held, placed, unnamed
from projections.diagnosis.moves import Between, LedgerMove, between, read_moves
from projections.diagnosis.remedies import safe_to_do
from projections.diagnosis.trace.conversation import stories_between, stories_of_conversation
from projections.diagnosis.trace.story import Story, events_received, story_of_operation
from scripts.commands.installation import (
    DatabaseUrl,
    DataDir,
    InstallationName,
    Schema,
    absence_of,
    ask_each,
    installation_names,
)
from scripts.console import fail
from scripts.table import cell

WIDTH_WHERE_NO_TERMINAL_IS = 160


def trace(
    name: Annotated[
        str,
        typer.Argument(
            metavar="KEY|CORRELATION-ID|TRANSACTION-ID",
            help="The idempotency key, correlation id or transaction id of the request, or a payout's id.",
        ),
    ],
    ledger: Annotated[str | None, typer.Option(help="The ledger to search [all].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object, for programs")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Tell the whole story of a request or a conversation, and what is safe to do. Exits 3 if nothing is recorded."""
    read = partial(_found, name=name, ledger=ledger)
    try:
        asked = ask_each("trace", database_url, data_dir, schema, installation, read)
    except LedgerError as refusal:
        fail(refusal.detail)
    now = system_clock()
    lost = [
        of
        for of in between({of: told.moves for of, told in asked.by_name.items()})
        if ledger in (None, of.ledger)
    ]
    traced = list(_where_they_are(asked.said))
    for place in sorted({of.left for of in lost}):
        left = partial(_left, name=name, lost=[of for of in lost if of.left == place])
        told_there = ask_each("trace", database_url, data_dir, schema, place, left)
        traced += [(of, each) for of, found in told_there.said for each in found]
    names = installation_names(database_url, data_dir, schema)
    if names and any(each.story.has_bridges_under_way for _, each in traced):
        # All of them, also where one is named: home alone knows.
        look = partial(unnamed, names=names)
        around = ask_each("trace", database_url, data_dir, schema, None, look, asked.unanswered)
        traced = [(of, each.with_unnamed(around.by_name.get(names[0], {}))) for of, each in traced]
    found = [_body(each, name, of, now) for of, each in traced]
    if not found:
        asked.tell()
        if asked.copies:
            fail(
                f"nothing of {cell(name)} has arrived in this copy: ask the primary, which may have recorded it"
            )
        if ledger and lost:
            (of, *_) = lost
            words = f"nothing is recorded of {cell(name)} in {ledger}, which has left {of.left} and has not arrived at"
            fail(
                f"{words} {of.bound_for}. {safe_to_do('finish_move', f'/v1/ledgers/{ledger}', None, of.bound_for)}"
            )
        if ledger and not any(told.has_ledger for _, told in asked.said):
            absences = [told.absence for _, told in asked.said if told.absence is not None]
            # Where it has left and not arrived, it is moving, and told of there soon.
            absences.sort(key=lambda absence: isinstance(absence, LedgerMoved))
            fail(absence_of(ledger, absences[0]) if absences else ledger_not_found(ledger).detail)
        fail(f"nothing is recorded of {cell(name)}. {safe_to_do('send_again')}")
    if len(found) > 1 and any(body["idempotency_key"] for body in found):
        names = ", ".join(body["ledger"] for body in found)
        fail(f"it is in several ledgers; choose one with --ledger: {names}")
    body = found[0] if len(found) == 1 else conversation_body(found, name)
    if as_json:
        typer.echo(json.dumps(body, indent=2))
    else:
        _print(body)
    asked.tell()


class Traced(NamedTuple):
    """What a ledger has under a name. `key` is the idempotency key if the name is of an operation, else None."""

    ledger: str
    story: Story
    key: str | None

    def with_unnamed(self, unnamed: Mapping[str, str]) -> "Traced":
        """Return the same, given the ledgers that are in installations which the placement does not name."""
        return self._replace(story=self.story._replace(unnamed=unnamed))


class Told(NamedTuple):
    """What an installation has under a name, whether it has the ledger that was given, and its map of ledgers.

    `absence` says that this ledger has left it or not arrived there. `moves` are those of all its ledgers.
    """

    traced: Sequence[Traced]
    has_ledger: bool
    absence: LedgerError | None
    placed: Mapping[str, str]
    moves: Sequence[LedgerMove]


def _where_they_are(said: Sequence[tuple[str | None, Told]]) -> Iterator[tuple[str | None, Traced]]:
    """Yield what was found, with its installation. One that a ledger has left keeps its history, and is left out."""
    found = [(name, traced) for name, told in said for traced in told.traced]
    times = Counter(traced.ledger for _, traced in found)
    _, at_home = said[0]
    for name, traced in found:
        if times[traced.ledger] == 1 or at_home.placed.get(traced.ledger, name) == name:
            yield name, traced


def _body(traced: Traced, name: str, installation: str | None, now: Instant) -> dict[str, Any]:
    ledger, story, key = traced
    correlation_id = None if key else name
    return trace_body(story, ledger, now, key=key, correlation_id=correlation_id, installation=installation)


def _found(connection: Connection[Any], name: str, ledger: str | None) -> Told:
    """Return what is found under this name in each ledger that has it, or in the one that is given."""
    # First, so that a ledger that leaves or arrives meanwhile is not missed at both places.
    moves = read_moves(connection)
    found = []
    ledgers = [each for each in held(connection) if ledger in (None, each)]
    for each in ledgers:
        if (story := _operation(connection, each, name)) is not None:
            found.append(Traced(each, story, story.operations[0].idempotency_key))
            continue
        conversation = stories_of_conversation(connection, [each], name)
        found += [Traced(each, _with_both_sides(connection, story), None) for _, story in conversation]
    _, absence = (None, None) if ledger is None else read_present_positions(connection, ledger)
    return Told(found, bool(ledgers), absence, placed(connection, [traced.ledger for traced in found]), moves)


def _left(connection: Connection[Any], name: str, lost: Sequence[Between]) -> list[Traced]:
    """Return what is found under this name in ledgers that have left the installation and have not arrived."""
    found = []
    for of in lost:
        if (story := _operation(connection, of.ledger, name, of)) is not None:
            found.append(Traced(of.ledger, story, story.operations[0].idempotency_key))
            continue
        conversation = stories_between(connection, [of], name)
        found += [Traced(of.ledger, _with_both_sides(connection, story), None) for _, story in conversation]
    return found


def _operation(
    connection: Connection[Any], ledger: str, name: str, between: Between | None = None
) -> Story | None:
    """Return the story of the operation with this key, else with this id. None if there is neither."""
    by_id = [canonical_id(name)] if is_id(name) else []
    for id in [*([operation_id(ledger, name)] if is_key(name) else []), *by_id]:
        try:
            story = story_of_operation(connection, ledger, id, between)
        except OperationUnknown:
            continue
        return _with_both_sides(connection, story)
    return None


def _with_both_sides(connection: Connection[Any], story: Story) -> Story:
    """Return a story with what other ledgers of this installation recorded for its bridges."""
    bridges = [made for made in story.operations if isinstance(made, Payout) and made.is_bridge]
    return story._replace(received=tuple(events_received(connection, bridges)))


def _print(body: dict[str, Any]) -> None:
    width = None if sys.stdout.isatty() else WIDTH_WHERE_NO_TERMINAL_IS
    console = Console(highlight=False, width=width)
    traces = body.get("traces")
    console.print(_timeline(body["timeline"], names_ledgers=traces is not None))
    for trace in [body] if traces is None else traces:
        if traces is not None:
            console.print()
            where = f", in {trace['installation']}" if "installation" in trace else ""
            _say(console, "Ledger", trace["ledger"] + where)
        _print_verdicts(console, trace)


def _timeline(moments: Sequence[Mapping[str, Any]], *, names_ledgers: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("time", no_wrap=True)
    if names_ledgers:
        table.add_column("ledger", no_wrap=True)
    table.add_column("position", no_wrap=True, justify="right")
    table.add_column("kind", no_wrap=True)
    table.add_column("what", overflow="fold")
    for moment in moments:
        time, *rest = _row(moment)
        cells = [time, *([moment["ledger"]] if names_ledgers else []), *rest]
        table.add_row(*(Text(text) for text in cells))
    return table


def _print_verdicts(console: Console, body: Mapping[str, Any]) -> None:
    for operation in body["operations"] if len(body["operations"]) > 1 else ():
        verdict = operation["verdict"]
        _say(console, f"{operation['idempotency_key']} ({verdict['code']})", verdict["what_happened"])
    verdict = body["verdict"]
    console.print()
    _say(console, f"Verdict ({verdict['code']})", verdict["what_happened"])
    _say(console, f"Safe to do ({verdict['remedy']})", verdict["safe_to_do"])
    _say(console, "Why", verdict["why"])
    for concern in verdict["concerns"]:
        _say(console, f"Concern ({concern['code']})", concern["words"])
        _say(console, f"  Safe to do ({concern['remedy']})", concern["safe_to_do"])
    console.print()
    _say(
        console,
        "As of position",
        f"{body['position']} of {body['head']}; replays are counted a moment later.",
    )


def _row(moment: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Return the cells of one moment. The time is shown to the millisecond."""
    time = "-" if moment["time"] is None else moment["time"].replace("T", " ")[:-4]
    actor = f", by {moment['actor']}" if moment["actor"] else ""
    what = f"{moment['subject']}: {moment['words']}{actor}"
    return time, cell(moment["position"]), moment["kind"], cell(what)


def _say(console: Console, label: str, words: str) -> None:
    console.print(Text(f"{cell(label)}: {cell(words)}"))
