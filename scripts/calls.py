"""How commands are called: an example of each, and the prefix that makes a command ready to paste on this machine."""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from urllib.parse import urlsplit

from projections.diagnosis.remedies import command_on

EXAMPLES: Mapping[str, str] = {
    "serve": "tallystick serve --port 8000",
    "project": 'tallystick project --database-url "$URL"',
    "publish": 'tallystick publish --database-url "$URL"',
    "migrate": "tallystick migrate --finish",
    "replay": "tallystick replay entries balances --reason 'after the repair'",
    "projections": "tallystick projections pause entries --reason 'until the upgrade is done'",
    "dead-letters": "tallystick dead-letters list --state open",
    "payouts": "tallystick payouts list --ledger main --state in_doubt",
    "webhooks": "tallystick webhooks list",
    "export": "tallystick export journal.ndjson",
    "verify": "tallystick verify journal.ndjson",
    "import": 'tallystick import journal.ndjson --database-url "$EMPTY_URL"',
    "prove": "tallystick prove --position 8 proof.txt",
    "verify-proof": "tallystick verify-proof proof.txt --verifier-key key.txt",
    "witnesses": "tallystick witnesses list",
    "report": "tallystick report trial-balance --ledger main --to 2026-12-01",
    "trace": "tallystick trace deposit-1 --ledger main",
    "stuck": "tallystick stuck --payout-seconds 60",
    "place": "tallystick place main --on west --yes",
    "keys": "tallystick keys make shop --role client --ledger main",
    "simulate-provider": "tallystick simulate-provider --port 8100 --worst",
    "doctor": "tallystick doctor --all",
    "demo": 'tallystick demo --url http://127.0.0.1:8000 --key "$TALLYSTICK_KEY"',
    "tail": "tallystick tail --ledger main --type transaction.posted",
    "listen": "tallystick listen --port 9000 --secret whsec_c2VjcmV0IG9mIGEgd2ViaG9vaw==",
    "openapi": "tallystick openapi --postman",
    "mcp": 'tallystick mcp --url http://127.0.0.1:8000 --key "$TALLYSTICK_KEY"',
    "bench": "tallystick bench --only batches",
}
"""One example call of each command, with the options it needs."""

PROGRAM = "tallystick"

WHO_PROJECTS = "start `tallystick serve` or, beside one that runs with --no-projector, `tallystick project`"
WHO_PUBLISHES = "start `tallystick serve` or, beside one that runs with --no-projector, `tallystick publish`"


def as_called(command: str, installation: str | None = None) -> str:
    """Return a command ready to paste: called by the same path as this process, on the same installation.

    `installation` is the one of a placement that it is for. Text that is not a `tallystick` command is returned
    unchanged. A database URL with a password is replaced by "$TALLYSTICK_DATABASE_URL".
    """
    if not command.startswith(f"{PROGRAM} "):
        return command
    if installation is not None:
        command = command_on(command, installation)
    called = sys.argv[0]
    if os.path.basename(called) == PROGRAM and os.sep in called:
        command = shlex.quote(called) + command.removeprefix(PROGRAM)
    return " ".join([command, *_installation(sys.argv[1:])])


def _installation(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the options of a call that name the installation."""
    parts = [part for each in arguments for part in (each.split("=", 1) if each[:2] == "--" else [each])]
    for option, value in pairwise([*parts, ""]):
        if option in ("--data-dir", "--schema"):
            yield f"{option} {shlex.quote(value)}"
        elif option == "--database-url":
            has_password = ":" in urlsplit(value).netloc.rpartition("@")[0] or "password" in value
            yield f"{option} " + ('"$TALLYSTICK_DATABASE_URL"' if has_password else shlex.quote(value))
