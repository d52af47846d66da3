"""Makes the synchronous client from the asynchronous one, word by word. `python -m scripts.synchronous_client`"""

import io
import subprocess
import sys
import tokenize
from pathlib import Path

CLIENT = Path(__file__).parents[1] / "api" / "client"
SOURCE, MADE = CLIENT / "asynchronous", CLIENT / "synchronous"
BY_HAND = "concurrency.py"
"""The module in which the two differ by more than words. Each client has its own."""

DROPPED = frozenset({"async", "await"})
RENAMED = {
    "AsyncIterator": "Iterator",
    "AsyncClient": "Client",
    "AsyncBaseTransport": "BaseTransport",
    "aiter_bytes": "iter_bytes",
    "Awaitable": "Callable",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
}
PROSE = {
    '"""The client for programs with an event loop. The package `synchronous` is generated from this one."""': '"""The'
    ' client for programs without an event loop. Generated from `asynchronous` by `scripts/synchronous_client.py`."""'
}


def synchronous(source: str) -> str:
    """Return a module with every `async` and `await` left out, and every name replaced by its synchronous twin."""
    kept: list[tokenize.TokenInfo] = []
    skipped = 0
    line = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.start[0] != line:
            line, skipped = token.start[0], 0
        if token.string in DROPPED:
            skipped += len(token.string) + 1
            continue
        string = PROSE.get(token.string, RENAMED.get(token.string, token.string))
        start = (token.start[0], token.start[1] - skipped)
        skipped += len(token.string) - len(string)
        end_column = token.end[1] - (skipped if token.end[0] == token.start[0] else 0)
        kept.append(token._replace(string=string, start=start, end=(token.end[0], end_column)))
    return _formatted(tokenize.untokenize(kept))


def _formatted(source: str) -> str:
    """Return a module in the house's style: shorter names change where lines break and how imports are sorted, and only
    an iterator without an event loop can `yield from` another.
    """
    mended = ["check", "--select", "I,UP028", "--fix", "--unsafe-fixes", "--quiet"]
    for command in (mended, ["format", "--quiet"]):
        ran = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(MADE / "made.py"), "-"]
        source = subprocess.run(ran, input=source, capture_output=True, text=True, check=True).stdout
    return source


def made() -> dict[str, str]:
    """Return every generated module by its name."""
    return {
        path.name: synchronous(path.read_text(encoding="utf-8"))
        for path in sorted(SOURCE.glob("*.py"))
        if path.name != BY_HAND
    }


if __name__ == "__main__":
    for name, source in made().items():
        (MADE / name).write_text(source, encoding="utf-8")
