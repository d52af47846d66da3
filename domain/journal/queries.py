"""SQL in files. A line `-- name: …` names each query; the comment below it says why the query is as it is."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def load(module: str) -> Mapping[str, str]:
    """Return the queries, by name and without comments, of the SQL file beside a module that has the module's name.

    `load(__name__)` returns the module's own.
    """
    package, _, name = module.rpartition(".")
    parts = _NAME.split(files(package).joinpath(f"{name}.sql").read_text(encoding="utf-8"))
    return {name: _statement(text) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _statement(text: str) -> str:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return "\n".join(lines).strip().removesuffix(";")
