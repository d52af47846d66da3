"""The environment of the benchmark's own processes."""

import os
from collections.abc import Mapping

from domain.release import ROOT


def environment(**more: str) -> Mapping[str, str]:
    """Return this process's environment, with the path to the same modules and with these variables."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **more}
