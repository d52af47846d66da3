"""Runs a module as a program, without `rich`: `python -m projections.rebuilding.without_rich MODULE`.

structlog imports `rich`, if it is there, to show errors in colours. That is a quarter of the time in which a process of
this folder starts, and nobody sees the colours.
"""

import runpy
import sys

if __name__ == "__main__":
    sys.modules["rich"] = None  # type: ignore[assignment]
    runpy.run_module(sys.argv[1], run_name="__main__")
