"""Where the figures come from: the machine, the versions, and the database server's settings."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import psycopg

from domain.journal.queries import load

_PACKAGES = (
    "eventsourcing",
    "psycopg",
    "psycopg-binary",
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "pydantic",
    "pydantic-core",
)
_CPU_INFO = Path("/proc/cpuinfo")
_SQL = load("scripts.bench.bench")


def describe_machine() -> dict[str, Any]:
    """Return the machine, and its load before the benchmark."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "load_average_before": os.getloadavg(),
    }


def describe_versions() -> dict[str, str]:
    """Return the versions of the software the figures depend on."""
    return {"python": platform.python_version(), **{package: version(package) for package in _PACKAGES}}


def describe_database(url: str) -> dict[str, str]:
    """Return the server's settings that decide what a commit costs."""
    with psycopg.connect(url) as connection:
        return dict(_SQL["settings"].rows(connection))


def _processor() -> str:
    if _CPU_INFO.exists():
        for line in _CPU_INFO.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
