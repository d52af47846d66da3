"""What the benchmark's own processes find in their environment."""

import os
from collections.abc import Mapping

from domain.release import ROOT


def environment(**more: str) -> Mapping[str, str]:
    """Return this process's environment, with which another one finds the same modules, and more."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **more}
