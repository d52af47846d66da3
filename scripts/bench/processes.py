"""What the benchmark's own processes find in their environment."""

import os
from collections.abc import Mapping
from pathlib import Path

_ROOT = Path(__file__).parent.parent.parent


def environment(**more: str) -> Mapping[str, str]:
    """Return this process's environment, with which another one finds the same modules, and more."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **more}
