"""An older release, made out of the present tree: what another one would have to live with during a deploy.

It is a copy of the packages in a folder of its own, with four differences, such as releases have:

- it does not know `account.frozen`, and so the projection that reads it has an older shape;
- it has `transaction.rejected` in version 2 and `payout.rejected` in version 1, which did not keep what a refusal is
  about: it is refused with the code and its general words, and with nothing else;
- it cannot read the events of keys, which belong to no ledger;
- so both releases share the versions of all projections but that one.
"""

import ast
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.service import ROOT

PACKAGES = ("domain", "projections", "api", "scripts")
UNKNOWN_TOPIC = "account.frozen"
LOWERED_TOPIC = "transaction.rejected"
RESHAPED = "balances"
# Shapes are told apart and never compared; below the first one there is none.
OLDER_SHAPE = 99


def make_older_release(folder: Path) -> Path:
    """Make it, and return the folder to start it in."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    model = folder / "domain" / "model"
    _change(model / "accounts.py", _forget_frozen)
    _change(model / "transactions.py", lambda tree: _lower(tree, "TransactionRejected", 2))
    _change(model / "payouts" / "payout.py", lambda tree: _lower(tree, "PayoutRejected", 1))
    _change(model / "errors.py", _say_no_more)
    _change(model / "keys.py", _forget_keys)
    with (folder / "projections" / "read_models" / f"{RESHAPED}.py").open("a", encoding="utf-8") as module:
        module.write(f"\nPROJECTION = PROJECTION._replace(shape={OLDER_SHAPE})\n")
    return folder


def _change(module: Path, change: Callable[[ast.Module], None]) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    change(tree)
    module.write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")


def _forget_frozen(tree: ast.Module) -> None:
    """Take the event from those of accounts: neither their fold nor a projection knows it then."""
    for statement in tree.body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "EVENTS":
            assert isinstance(statement.value, ast.Tuple)
            known = [name for name in statement.value.elts if ast.unparse(name) != "Frozen"]
            assert len(known) == len(statement.value.elts) - 1
            statement.value.elts = known
            return
    raise AssertionError("the module has no EVENTS")


def _forget_keys(tree: ast.Module) -> None:
    """Take all events from those of keys."""
    (events,) = (
        statement
        for statement in tree.body
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "EVENTS"
    )
    events.value = ast.Tuple([], ast.Load())


def _lower(tree: ast.Module, name: str, version: int) -> None:
    """Make an older version of an event the present one: without its last upcast, and without `details`."""
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
    # What is empty is left out of what is stored: the form of the older version, as long as nothing is named.
    rejected.keywords.append(ast.keyword("omit_defaults", ast.Constant(True)))


def _say_no_more(tree: ast.Module) -> None:
    """Have a refusal keep neither words of its own nor what it is about."""
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
