"""The alert rules as they are written, but hasty: what lasts minutes there lasts seconds here.

Every `for`, every range and every offset is divided by `PACE`. A range is never shorter than some scrapes. Thresholds
stay as they are, those on ages too: what is old in these tests was recorded an hour ago.
"""

import copy
import re
from typing import Any

from tests.integration.monitoring.prometheus import rule_groups

PACE = 120
LEAST_RANGE_SECONDS = 10
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def hasty_rules() -> dict[str, Any]:
    """The rules, for `watching`."""
    groups = copy.deepcopy(rule_groups())
    for group in groups:
        for rule in group["rules"]:
            rule["for"] = re.sub(r"(\d+)([smh])", _divided, rule["for"])
            rule["expr"] = re.sub(r"(?<=\[)(\d+)([smh])(?=\])|(?<=offset )(\d+)([smh])", _range, rule["expr"])
    return {"groups": groups}


def _divided(duration: re.Match[str]) -> str:
    return f"{int(duration[1]) * _SECONDS[duration[2]] * 1000 // PACE}ms"


def _range(duration: re.Match[str]) -> str:
    number, unit = (found for found in duration.groups() if found)
    return f"{max(LEAST_RANGE_SECONDS, int(number) * _SECONDS[unit] // PACE)}s"
