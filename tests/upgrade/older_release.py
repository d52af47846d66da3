"""An older release, made from the present source tree, for tests of a deploy.

It is a copy of the packages in a separate folder, with seven differences that releases can have:

- It does not know `account.frozen`, so the projection that reads this event has an older shape.
- It has `transaction.rejected` in version 2 and `payout.rejected` in version 1. Those versions do not store what a
  refusal concerns, only its code, so it answers with the code's general words.
- It cannot read the events of keys, which belong to no ledger.
- It knows only `events`, which is a table to it, appends whole states to it and reads them from it. It lacks the
  migration that made `events` a view.
- It finds streams by their names, and lacks the migration that made their keys.
- It serves one installation: it lacks the map of a placement, and what was witnessed of other installations.
- Both releases share the versions of all projections except that one.
"""

import ast
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.service import ROOT

PACKAGES = ("domain", "projections", "api", "scripts")
UNKNOWN_TOPIC = "account.frozen"
LOWERED_TOPIC = "transaction.rejected"
RESHAPED = "balances"
# Shapes are only told apart, never compared. Numbers below 1 do not exist.
OLDER_SHAPE = 99
BY_KEY = re.compile(r"[{}.\w]*in_stream\(([\w.]+), ((?:[^()]|\([^()]*\))+)\)")
WHOLE = "SELECT *, NULL::smallint AS shares, NULL::bytea AS base FROM events"


def make_older_release(folder: Path) -> Path:
    """Make the release and return the folder to start it in."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    _forget_stored_events(folder)
    _forget_stream_keys(folder)
    _forget_other_installations(folder)
    model = folder / "domain" / "model"
    _change(model / "accounts.py", _forget_frozen)
    _change(model / "transactions.py", lambda tree: _lower(tree, "TransactionRejected", 2))
    _change(model / "payouts" / "payout.py", lambda tree: _lower(tree, "PayoutRejected", 1))
    _change(model / "errors.py", _say_no_more)
    _change(model / "installation" / "keys.py", _forget_events)
    _change(model / "installation" / "checkpoints.py", _forget_events)
    with (folder / "projections" / "read_models" / f"{RESHAPED}.py").open("a", encoding="utf-8") as module:
        module.write(f"\nPROJECTION = PROJECTION._replace(shape={OLDER_SHAPE})\n")
    return folder


def _forget_stored_events(folder: Path) -> None:
    """Let it store whole states in `events`, and read them from there."""
    journal = folder / "domain" / "journal"
    (journal / "migrations" / "0019_stored_events.sql").unlink()
    appended = {
        "stored_events (originator_id": "events (originator_id",
        "notification_id, shares)\n    SELECT": "notification_id)\n    SELECT",
        ", nullif(shares, -1)": "",
        "coalesce(shares, -1)\nFROM stored_events": "-1 FROM events",
    }
    _replace(journal / "journal.sql", appended)
    sources = [file for package in PACKAGES for file in (folder / package).rglob("*.sql")]
    for file in sources:
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("FROM abbreviated_events", f"FROM ({WHOLE}) AS whole"), encoding="utf-8")
    for module in (folder / "domain" / "commit" / "decider.py", journal / "recording.py"):
        _replace(module, {"ENVELOPE if number else encoded": "encoded"})
    stored = "list(zip(*rows[1:], strict=True))"
    _replace(journal / "writer.py", {stored: f"[(*row[:4], -1) for row in {stored}]"})
    with (journal / "encoding.py").open("a", encoding="utf-8") as encoding:
        encoding.write("\nencode_abbreviated_envelope, encode_abbreviated = encode_envelope, encode_event\n")


def _forget_stream_keys(folder: Path) -> None:
    """Let it look streams up by name."""
    journal = folder / "domain" / "journal"
    (journal / "migrations" / "0020_stream_keys.sql").unlink()
    sources = [file for package in PACKAGES for file in (folder / package).rglob("*.sql")]
    for file in [*sources, journal / "eventsourcing" / "recorder.py"]:
        text = file.read_text(encoding="utf-8")
        text = BY_KEY.sub(r"\1 = \2", text)
        assert "in_stream" not in text, file
        file.write_text(text, encoding="utf-8")


def _forget_other_installations(folder: Path) -> None:
    """Let it have neither the map of a placement nor the names of witnessed logs."""
    for migration in ("0021_placements", "0023_witnesses"):
        (folder / "domain" / "journal" / "migrations" / f"{migration}.sql").unlink()
    signs = folder / "projections" / "diagnosis" / "vital_signs.py"
    _replace(signs, {'tuple(_SQL["witnessed"].rows(connection, into=WitnessSign))': "()"})


def _replace(file: Path, texts: Mapping[str, str]) -> None:
    text = file.read_text(encoding="utf-8")
    for old, new in texts.items():
        assert old in text, (file, old)
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


def _change(module: Path, change: Callable[[ast.Module], None]) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    change(tree)
    module.write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")


def _forget_frozen(tree: ast.Module) -> None:
    """Remove the event from those of accounts, so that neither their fold nor a projection knows it."""
    for statement in tree.body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "EVENTS":
            assert isinstance(statement.value, ast.Tuple)
            known = [name for name in statement.value.elts if ast.unparse(name) != "Frozen"]
            assert len(known) == len(statement.value.elts) - 1
            statement.value.elts = known
            return
    raise AssertionError("the module has no EVENTS")


def _forget_events(tree: ast.Module) -> None:
    """Remove all events of a module, so that they are events of an unknown topic."""
    (events,) = (
        statement
        for statement in tree.body
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "EVENTS"
    )
    events.value = ast.Tuple([], ast.Load())


def _lower(tree: ast.Module, name: str, version: int) -> None:
    """Make an event's previous version the present one: without its last upcast and without `details`."""
    (rejected,) = (
        statement for statement in tree.body if isinstance(statement, ast.ClassDef) and statement.name == name
    )
    upcast = f"upcast_v{version}_v{version + 1}"
    assert {upcast, "class_version", "details"} <= {_name(statement) for statement in rejected.body}
    rejected.body = [statement for statement in rejected.body if _name(statement) != upcast]
    for statement in rejected.body:
        if isinstance(statement, ast.AnnAssign) and _name(statement) == "class_version":
            statement.value = ast.Constant(version)
        if isinstance(statement, ast.AnnAssign) and _name(statement) == "details":
            statement.value = ast.Dict([], [])
    # Empty members are not stored, so an event whose refusal names nothing has the form of the older version.
    rejected.keywords.append(ast.keyword("omit_defaults", ast.Constant(True)))


def _say_no_more(tree: ast.Module) -> None:
    """Let a refusal store neither its own words nor what it concerns."""
    (error,) = (
        statement
        for statement in tree.body
        if isinstance(statement, ast.ClassDef) and statement.name == "LedgerError"
    )
    (init,) = (made for made in error.body if isinstance(made, ast.FunctionDef) and made.name == "__init__")
    init.body[:0] = ast.parse("if details: detail, details = None, {}").body


def _name(statement: ast.stmt) -> str:
    if isinstance(statement, ast.AnnAssign):
        return ast.unparse(statement.target)
    return statement.name if isinstance(statement, ast.FunctionDef) else ""
